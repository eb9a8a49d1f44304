"""Indexing, gathering, scattering."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from benchmarks.torch_cases.case import (
    IMG,
    B,
    Case,
    S,
    bools,
    ints,
    of_function,
)

_T: Any = torch
"""Its functions without types."""


def picking() -> Iterator[Case]:
    f = of_function
    yield f(
        "slicing bool",
        lambda x: (x[True], x[:, [0, 2]], x[[1, 0]], x[:, [True, False, True, False, True]]),
        B,
    )
    yield f(
        "advanced",
        lambda x, i: (
            x[i],
            x[:, i % 5],
            x[i, i],
            x[:, i, i],
            x[i, :, i],
            x[i[:, None], i],
            x[..., i],
            x[i, 1:3],
            x[0, i],
        ),
        B,
        ints(3, high=4),
    )
    yield f(
        "negative index",
        lambda x, i: (x[-i - 1], x.index_select(1, i), x[:, -i]),
        B,
        ints(3, high=4),
    )
    yield f(
        "gather",
        lambda x, i: (
            x.gather(1, i),
            torch.gather(x, -1, i),
            torch.take_along_dim(x, i, dim=1),
            x.gather(0, i % 4),
        ),
        B,
        ints(4, 2, 6),
    )
    yield f("take", lambda x, i: (torch.take(x, i), x.take(-i - 1)), B, ints(3, 2, high=100))
    yield f("take_along_dim flat", torch.take_along_dim, S, ints(7, high=20))
    yield f("index_select scalar", lambda x: x.index_select(0, torch.tensor(1)), B)
    yield f(
        "scatter",
        lambda x, i, y: (
            x.scatter(1, i, y),
            x.scatter(1, i, 3.5),
            x.scatter_add(1, i, y),
            x.scatter_reduce(1, i, y, "amax"),
            x.scatter_reduce(1, i, y, "prod", include_self=False),
            x.scatter_reduce(1, i, y, "mean", include_self=False),
            x.scatter_reduce(1, i, y, "sum", include_self=False),
            x.scatter_reduce(1, i, y, "amin", include_self=False),
            x.scatter(1, i, y, reduce="add"),
            x.scatter(1, i, 2.0, reduce="multiply"),
        ),
        B,
        lambda: (
            torch.stack([torch.randperm(5)[:2] for _ in range(24)], 0)
            .reshape(4, 6, 2)
            .transpose(1, 2)
        ),
        (4, 2, 6),
    )
    yield f("index put", _put, B, (4, 6))
    yield f("index put mask", _masked_put, B, bools(4, 5, 6))
    yield f(
        "index_put accumulate",
        lambda x, i: x.index_put((i,), torch.ones(5, 6), accumulate=True),
        B,
        ints(3, high=4),
    )
    yield f(
        "index_add",
        lambda x, y: (
            x.index_add(1, torch.tensor([0, 0, 3]), y),
            x.index_add(1, torch.tensor([0, 2, 3]), y, alpha=2),
        ),
        B,
        (4, 3, 6),
    )
    yield f("index_copy", lambda x, y: x.index_copy(1, torch.tensor([0, 2, 3]), y), B, (4, 3, 6))
    yield f("index_fill", lambda x: x.index_fill(1, torch.tensor([0, -1]), 3.0), B)
    yield f(
        "index_reduce",
        lambda x, y: x.index_reduce(1, torch.tensor([0, 0, 3]), y, "amax"),
        B,
        (4, 3, 6),
    )
    yield f("masked_scatter", lambda x, m, y: x.masked_scatter(m, y), B, bools(4, 5, 6), B)
    yield f(
        "select_scatter",
        lambda x, y: (torch.select_scatter(x, y, 1, 2), torch.select_scatter(x, y, 1, -1)),
        B,
        (4, 6),
    )
    yield f("slice_scatter", lambda x, y: torch.slice_scatter(x, y, 1, 1, 3), B, (4, 2, 6))
    yield f("diagonal_scatter", lambda x, y: torch.diagonal_scatter(x, y, 1), (5, 5), (4,))
    yield f("put", lambda x: torch.Tensor.put(x, torch.tensor([1, 7]), torch.tensor([9.0, 8.0])), B)
    yield f(
        "diag",
        lambda x: (
            x.diag(),
            torch.diag(x[0]),
            x.diag(1),
            torch.diagonal(x, -1),
            torch.diag_embed(x),
            torch.diagflat(x[0]),
        ),
        (5, 5),
    )
    yield f(
        "diag_embed",
        lambda x: (
            torch.diag_embed(x, 1),
            torch.diag_embed(x, -1, 0, 2),
            torch.diagonal(x, 0, -2, -1),
            torch.diagonal(x, 1, 0, 2),
        ),
        B,
    )
    yield f("tril", lambda x: (x.tril(), x.triu(1), x.tril(-1), torch.triu(x, diagonal=-2)), B)
    yield f("int tril", lambda x: (x.tril(), x.triu(1)), ints(4, 5))
    yield f("bool tril", lambda x: (x.tril(), x.triu(1)), bools(4, 5))
    yield f("tril_indices", lambda x: x[(slice(None), *torch.tril_indices(5, 6, -1))], B)
    yield f(
        "cartesian", lambda x, y: (torch.cartesian_prod(x, y), torch.combinations(x, 2)), (4,), (3,)
    )
    yield f(
        "meshgrid",
        lambda x, y: (*torch.meshgrid(x, y, indexing="ij"), *torch.meshgrid(x, y, indexing="xy")),
        (4,),
        (3,),
    )
    yield f(
        "outer",
        lambda x, y: (
            torch.outer(x, y),
            torch.ger(x, y),
            torch.kron(x, y),
            torch.inner(y, y),
            torch.dot(y, y),
            torch.vdot(y, y),
        ),
        (4,),
        (3,),
    )
    yield f(
        "broadcast_tensors",
        lambda x, y: (*_T.broadcast_tensors(x, y), *_T.atleast_3d(x, y), _T.atleast_2d(y)),
        B,
        (6,),
    )
    yield f("block_diag", torch.block_diag, S, (3, 2))
    yield f("unfold tensor", lambda x: (x.unfold(1, 3, 2), x.unfold(-1, 2, 1)), B)
    yield f("as_strided", lambda x: torch.as_strided(x, (4, 3), (6, 2)), S)
    yield f(
        "pixel_shuffle",
        lambda x: (
            F.pixel_shuffle(x, 2),
            F.pixel_unshuffle(x[..., :8, :8], 2),
            F.channel_shuffle(x, 2),
        ),
        IMG,
    )


def _put(x, y):  # type: ignore[no-untyped-def]
    x = x.clone()
    x[:, 1] = y
    x[..., 0] = 1.5
    x[1:, 2:, 3:5] *= 2
    x[0, 0, 0] += 1
    x[:, [0, 2]] = 0
    return x


def _masked_put(x, m):  # type: ignore[no-untyped-def]
    x = x.clone()
    x[m] = 0.5
    x[x < 0] = -x[x < 0]
    return x
