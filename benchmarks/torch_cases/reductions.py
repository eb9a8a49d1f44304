"""Reductions, orders, counts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from benchmarks.torch_cases.case import (
    B,
    Case,
    S,
    bools,
    ints,
    of_function,
)


def by_axis() -> Iterator[Case]:
    for name in (
        "sum mean amax amin logsumexp std var prod norm any all argmax argmin median "
        "nanmean nansum count_nonzero cumsum cumprod cummax cummin logcumsumexp sort "
        "argsort msort var_mean std_mean aminmax max min mode nanmedian"
    ).split():
        op = getattr(torch, name)
        axis = partial(op) if name == "msort" else (lambda x, op=op, n=name: op(x, dim=-2))
        yield of_function(f"{name} dim=-2", axis, B)
        if name not in ("cumsum cumprod cummax cummin logcumsumexp msort sort argsort").split():
            if name not in ("logsumexp", "amax", "amin", "mode"):
                yield of_function(f"{name} all", lambda x, op=op: op(x), B)
            if name != "count_nonzero":
                yield of_function(f"{name} keepdim", lambda x, op=op: op(x, dim=0, keepdim=True), B)
            if (
                name
                in (
                    "sum mean amax amin logsumexp std var norm nanmean nansum any all count_nonzero"
                ).split()
            ):
                yield of_function(f"{name} dims", lambda x, op=op: op(x, dim=(0, -1)), B)
                yield of_function(f"{name} no dims", lambda x, op=op: op(x, dim=()), B)
        if (
            name
            in (
                "sum prod amax amin argmax argmin max min any all cumsum cumprod sort "
                "argsort median cummax count_nonzero nansum mode"
            ).split()
        ):
            yield of_function(f"int {name}", lambda x, op=op: op(x, dim=1), ints(4, 5))
            if name in ("sum prod any all argmax amax cumsum cumprod max sort argsort").split():
                yield of_function(
                    f"bool {name}",
                    lambda x, op=op: op(x if op != torch.argmax else x.int(), dim=1),
                    bools(4, 5),
                )
        if name in "sum mean prod cumsum cumprod".split():
            yield of_function(f"{name} dtype", lambda x, op=op: op(x, 1, dtype=torch.float64), B)
            yield of_function(
                f"int {name} dtype", lambda x, op=op: op(x, 1, dtype=torch.float32), ints(4, 5)
            )
        if name in "sum mean amax std argmax max prod logsumexp".split():
            yield of_function(f"{name} one element", lambda x, op=op: op(x, dim=1), (4, 1, 6))
            yield of_function(
                f"half {name}", lambda x, op=op: op(x, dim=1), lambda: torch.rand(4, 5).half()
            )
    yield of_function(
        "std correction",
        lambda x: (
            x.std(1, correction=0),
            x.var(dim=(1, 2), unbiased=False),
            x.std(),
            torch.var(x, 1, correction=2),
        ),
        B,
    )
    yield of_function(
        "norm p",
        lambda x: (
            x.norm(p=1, dim=1),
            x.norm(p=float("inf"), dim=-1),
            x.norm("fro"),
            x.norm(p=3, dim=(1,)),
            x.norm(p=0, dim=1),
            x.norm(2, -1, True),
        ),
        B,
    )
    yield of_function(
        "linalg norms",
        lambda x: (
            torch.linalg.norm(x, dim=1),
            torch.linalg.vector_norm(x, 1, dim=(1, 2)),
            torch.linalg.matrix_norm(x),
            torch.linalg.norm(x, ord=float("-inf"), dim=-1),
        ),
        B,
    )
    yield of_function("max two", torch.max, B, B)
    yield of_function("max unpack", lambda x: x.max(-1), B)
    yield of_function("topk", lambda x: x.topk(3), B)


def orders() -> Iterator[Case]:
    yield of_function("topk smallest", lambda x: x.topk(2, dim=1, largest=False), B)
    yield of_function("topk unsorted", lambda x: x.topk(2, 1, sorted=False)[0].sum(1), B)
    yield of_function("int topk", lambda x: x.topk(2)[0], ints(4, 5, high=100))
    yield of_function("kthvalue", lambda x: x.kthvalue(2, dim=1), B)
    yield of_function("sort desc", lambda x: torch.sort(x, 1, descending=True), B)
    yield of_function("sort stable", lambda x: torch.sort(x, dim=0, stable=True), B)
    yield of_function("argsort desc", lambda x: x.argsort(-1, descending=True), B)
    yield of_function("quantile", lambda x: x.quantile(0.3, dim=1), B)
    yield of_function(
        "quantile list",
        lambda x: torch.quantile(x, torch.tensor([0.1, 0.5]), dim=-1, keepdim=True),
        B,
    )
    yield of_function("quantile all", lambda x: torch.quantile(x, 0.25), B)
    yield of_function(
        "quantile nearest", lambda x: torch.quantile(x, 0.3, dim=1, interpolation="nearest"), B
    )
    yield of_function("bincount", lambda x: torch.bincount(x, minlength=6), ints(9))
    yield of_function("histc", lambda x: torch.histc(x, 5, -1, 1), B)
    yield of_function("unique", torch.unique, ints(9))
    yield of_function(
        "unique all", lambda x: torch.unique(x, return_inverse=True, return_counts=True), ints(9)
    )
    yield of_function("unique_consecutive", torch.unique_consecutive, ints(9))
    yield of_function("nonzero", torch.nonzero, bools(4, 5))
    yield of_function("nonzero tuple", lambda x: torch.nonzero(x, as_tuple=True), bools(4, 5))
    yield of_function("masked_select", torch.masked_select, B, bools(4, 5, 6))
    yield of_function("bool index", lambda x: x[x > 0], B)
    yield of_function("cov", torch.cov, S)
    yield of_function("corrcoef", torch.corrcoef, S)
    yield of_function("trace", torch.trace, S)
    yield of_function("diff", lambda x: torch.diff(x, dim=1), B)
    yield of_function(
        "diff n=2 prepend", lambda x: torch.diff(x, n=2, dim=-1, prepend=x[..., :1]), B
    )
    yield of_function("trapezoid", lambda x: torch.trapezoid(x, dim=1), B)
    yield of_function("cumulative_trapezoid", lambda x: torch.cumulative_trapezoid(x, dx=0.5), B)
    yield of_function("renorm", lambda x: torch.renorm(x, 2, 0, 1.0), B)
    yield of_function(
        "normalize",
        lambda x: (
            F.normalize(x),
            F.normalize(x, p=1, dim=-1),
            F.normalize(x, dim=2, eps=1e-3),
        ),
        B,
    )
    yield of_function(
        "cosine_similarity",
        lambda x, y: (F.cosine_similarity(x, y), F.cosine_similarity(x, y, dim=-1, eps=1e-3)),
        B,
        B,
    )
    yield of_function(
        "pairwise_distance",
        lambda x, y: (F.pairwise_distance(x, y), F.pairwise_distance(x, y, p=1, keepdim=True)),
        S,
        S,
    )
    yield of_function("pdist", F.pdist, S)
    yield of_function(
        "cdist",
        lambda x, y: (
            torch.cdist(x, y),
            torch.cdist(x, y, p=1),
            torch.cdist(x, y, p=float("inf")),
            torch.cdist(x, y, p=0.5),
        ),
        B,
        (4, 3, 6),
    )
