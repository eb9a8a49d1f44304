"""Padding, casts, creation."""

from __future__ import annotations

from collections.abc import Iterator

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
    positive,
)


def making() -> Iterator[Case]:
    f = of_function
    yield f(
        "pads",
        lambda x: (
            F.pad(x, (1, 2)),
            F.pad(x, (1, 2, 0, 1), value=3.0),
            F.pad(x, (1, 1, 2, 2), mode="reflect"),
            F.pad(x, (3, 1, 2, 2), mode="replicate"),
            F.pad(x, (1, 1, 2, 2), mode="circular"),
            F.pad(x, (-1, -1)),
            F.pad(x, (0, 0, 0, 0, 1, 1)),
            F.pad(x, (1, -1, 0, 2)),
        ),
        IMG,
    )
    yield f(
        "pad 1d",
        lambda x: (
            F.pad(x, (1, 2), mode="reflect"),
            F.pad(x, (1, 2), mode="replicate"),
            F.pad(x, (2, 2), mode="circular"),
        ),
        B,
    )
    yield f(
        "pad 3d",
        lambda x: (
            F.pad(x, (1, 1, 1, 1, 1, 1), mode="reflect"),
            F.pad(x, (1, 2, 1, 1, 1, 1), mode="replicate"),
            F.pad(x, (1, 1, 1, 1, 1, 1), mode="circular"),
        ),
        (1, 2, 4, 5, 6),
    )
    yield f("int pad", lambda x: (F.pad(x, (1, 2), value=-1), F.pad(x, (1, 2))), ints(4, 5))
    yield f("bool pad", lambda x: F.pad(x, (1, 2), value=True), bools(4, 5))
    yield f("one_hot", lambda x: (F.one_hot(x, 5), F.one_hot(x, num_classes=7).float()), ints(4, 3))
    yield f("one_hot open", F.one_hot, ints(4, 3))
    yield f(
        "embedding",
        lambda x: (
            F.embedding(x, torch.arange(12.0).reshape(6, 2)),
            F.embedding(x, torch.arange(12.0).reshape(6, 2), padding_idx=1),
        ),
        ints(4, 3),
    )
    yield f(
        "embedding_bag",
        lambda x, o: F.embedding_bag(x, torch.arange(12.0).reshape(6, 2), o, mode="sum"),
        ints(8),
        lambda: torch.tensor([0, 3, 5]),
    )
    yield f(
        "bucketize",
        lambda x: (
            torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0])),
            torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0]), right=True, out_int32=True),
            torch.searchsorted(torch.tensor([-1.0, 0.5]), x),
        ),
        B,
    )
    yield f("searchsorted rows", lambda x, y: torch.searchsorted(x.sort(-1)[0], y), S, (4, 3))
    yield f("isin", lambda x: torch.isin(x, torch.tensor([1, 3])), ints(4, 5))
    yield f("view dtype", lambda x: x.view(torch.int32), lambda: torch.randn(4, 5))
    yield f(
        "casts",
        lambda x: (
            x.int(),
            x.long(),
            x.bool(),
            x.half(),
            x.double(),
            x.to(torch.uint8),
            x.short(),
            x.to(torch.int8),
            x.float(),
            x.type(torch.int64),
            x.to("cpu"),
            x.type_as(x),
            x.char(),
        ),
        positive(4, 5),
    )
    yield f(
        "casts negative", lambda x: (x.int(), x.long(), x.bool(), x.short(), x.to(torch.int8)), B
    )
    yield f(
        "clone detach",
        lambda x: (
            x.clone(),
            x.detach(),
            x.contiguous(memory_format=torch.contiguous_format),
            x.alias_copy() if hasattr(x, "alias_copy") else x,
            x.cpu(),
            x.requires_grad_(False),
        ),
        B,
    )
    yield f("empty axis", lambda x: (x[:, :0].sum(1), x[:, :0], torch.cat([x[:, :0], x], 1)), B)
    yield f(
        "size args",
        lambda x: (
            x.new_zeros(x.shape[0], 3),
            x.new_ones(2),
            x.new_full((2, x.size(1)), 3.0),
            torch.zeros_like(x),
            torch.ones_like(x, dtype=torch.int64),
            torch.full_like(x, 2),
            torch.full((2, 3), 7),
            x.new_tensor([1.0, 2.0]),
            torch.zeros(x.size(0)),
            torch.eye(x.shape[1]),
            torch.empty_like(x).zero_(),
        ),
        B,
    )
    yield f(
        "aranges",
        lambda x: (
            torch.arange(x.shape[0]),
            torch.arange(1, x.shape[1], 2),
            torch.arange(0.0, 1.0, 0.3),
            torch.linspace(0, 1, x.shape[1]),
            torch.arange(5, 0, -1),
            torch.logspace(0, 2, 4),
            torch.linspace(-1, 1, 5)[None] * x[0, 0, 0],
        ),
        B,
    )
    yield f(
        "windows",
        lambda x: (
            x[0, 0] * torch.hann_window(6),
            torch.hamming_window(5),
            torch.bartlett_window(6, periodic=False),
            torch.kaiser_window(6),
            torch.blackman_window(6),
        ),
        B,
    )
    yield f(
        "item shape math",
        lambda x: x * (x.shape[1] // 2) + x.numel() / x.shape[0] + x.ndim + x.dim() + len(x) * 0.1,
        B,
    )
    yield f("vander", lambda x: torch.vander(x, 3), (4,))
    yield f(
        "nested",
        lambda x: {"a": [x, (x + 1, {"b": x.sum()})], "n": 3, "s": "text", "none": None},
        B,
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
