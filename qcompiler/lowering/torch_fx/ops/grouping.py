"""Distinct elements, n-grams, centred crops."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from qcompiler.lowering.torch_fx.ops.operands import Ints, axes_of, ints
from qcompiler.lowering.torch_fx.ops.window import torch_pad

_UNIQUE = tuple[Tensor, Tensor, Tensor, Tensor]


def unique(
    x: Tensor,
    *,
    axis: int | None = None,
    sorted: int = 1,  # noqa: A002
) -> _UNIQUE:
    """Unique: values, first places, inverse places and counts; by order of place if not sorted."""
    rows = x.reshape(-1) if axis is None else x
    along = 0 if axis is None else axis
    values, inverse, counts = torch.unique(
        rows, sorted=True, return_inverse=True, return_counts=True, dim=along
    )
    places = torch.arange(inverse.numel())
    first = torch.full((counts.numel(),), inverse.numel(), dtype=torch.int64)
    first = first.scatter_reduce(0, inverse.reshape(-1), places, "amin", include_self=True)
    if not sorted:
        order = torch.argsort(first)
        rank = torch.argsort(order)
        values, inverse = values.index_select(along, order), rank[inverse.reshape(-1)]
        first, counts = first[order], counts[order]
    return values, first, inverse.reshape(-1), counts


def center_crop_pad(x: Tensor, shape: Ints, *, axes: Sequence[int] | None = None) -> Tensor:
    """CenterCropPad: crops or pads with zeros, the odd cell at the end."""
    grow = [0] * 2 * x.dim()
    for axis, wanted in zip(axes_of(axes, x.dim()), ints(shape), strict=True):
        spare = wanted - x.shape[axis]
        before = spare // 2 if spare >= 0 else -(-spare // 2)
        grow[axis], grow[axis + x.dim()] = before, spare - before
    return functional.pad(x, torch_pad(grow))


def tf_idf(
    x: Tensor,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Sequence[int],
    ngram_indexes: Sequence[int],
    pool_int64s: Sequence[int],
    weights: Sequence[float] | None = None,
) -> Tensor:
    """TfIdfVectorizer over integers: counts of n-grams, with skips between their elements."""
    grams = _pool(ngram_counts, pool_int64s)
    width = max(ngram_indexes) + 1
    rows = x.reshape(-1, x.shape[-1]).tolist() if x.dim() else [[x.item()]]
    found = torch.zeros(len(rows), width)
    for row, tokens in enumerate(rows):
        for size in range(min_gram_length, max_gram_length + 1):
            for skip in range(max_skip_count + 1 if size > 1 else 1):
                reach = (size - 1) * (skip + 1)
                for start in range(len(tokens) - reach):
                    place = grams.get(tuple(tokens[start : start + reach + 1 : skip + 1]))
                    if place is not None:
                        found[row, ngram_indexes[place]] += 1
    return _weighted(found, mode, ngram_indexes, weights).reshape(*x.shape[:-1], width)


def _pool(counts: Sequence[int], pool: Sequence[int]) -> dict[tuple[int, ...], int]:
    """Place of each n-gram; `counts[n]` says where the (n + 1)-grams begin."""
    grams: dict[tuple[int, ...], int] = {}
    for size, start in enumerate(counts, 1):
        end = counts[size] if size < len(counts) else len(pool)
        for at in range(start, end, size):
            grams[tuple(pool[at : at + size])] = len(grams)
    return grams


def _weighted(
    found: Tensor, mode: str, indexes: Sequence[int], weights: Sequence[float] | None
) -> Tensor:
    if mode == "TF":
        return found
    factor = torch.ones(found.shape[1])
    if weights is not None:
        factor[list(indexes)] = torch.tensor(list(weights))
    return (found > 0) * factor if mode == "IDF" else found * factor
