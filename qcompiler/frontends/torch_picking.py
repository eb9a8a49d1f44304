"""Own decompositions of operators that pick, place and compare elements."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from qcompiler.frontends.torch_form import OwnForm

_ATEN = torch.ops.aten


def squeeze(x: Tensor, dim: Any = None) -> Any:
    """Axes of one element go; one that is longer, or open, stays. ONNX fails on those."""
    if not _keeps(x.shape, dim):
        return NotImplemented
    named = _axes(x.shape, dim)
    for axis in sorted((each for each in named if _is_one(x.shape[each])), reverse=True):
        x = _ATEN.squeeze.dim(x, axis)
    return x.clone()  # a result of its own, whatever is left of the axes


def _axes(shape: Sequence[Any], dim: Any) -> list[int]:
    named = range(len(shape)) if dim is None else [dim] if isinstance(dim, int) else dim
    return [axis % len(shape) for axis in named] if len(shape) else []


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def _keeps(shape: Sequence[Any], dim: Any) -> bool:
    """Whether an axis that is named stays, or none is, which the translation takes for all."""
    return (dim is not None and not isinstance(dim, int) and not len(dim)) or any(
        not _is_one(shape[axis]) for axis in _axes(shape, dim)
    )


def _squeeze_needed(given: Mapping[str, Any]) -> bool:
    return _keeps(given["self"].meta["val"].shape, given.get("dim"))


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """By the places of the mask, in the order of the broadcast operands."""
    mask = mask | torch.zeros_like(x, dtype=torch.bool)
    x = x.expand(mask.shape)
    return x.reshape(-1)[mask.reshape(-1)]


def scatter_reduced(x: Tensor, dim: int, index: Tensor, src: Any, *, reduce: str) -> Tensor:
    """scatter with reduce: the older spelling of scatter_reduce."""
    if not isinstance(src, Tensor):
        src = torch.full_like(index, src, dtype=x.dtype)
    kind = {"add": "sum", "multiply": "prod"}[reduce]
    return x.scatter_reduce(dim, index, src, kind)


def index_reduce(
    x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Whole rows: one index for all elements of each."""
    shape = [-1 if axis == dim % x.ndim else 1 for axis in range(x.ndim)]
    places = index.reshape(shape).expand(source.shape)
    return x.scatter_reduce(dim, places, source, reduce, include_self=include_self)


def put(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Into the flattened tensor."""
    flat = x.reshape(-1)
    return flat.index_put([index.reshape(-1)], source.reshape(-1), accumulate).reshape(x.shape)


def take(x: Tensor, index: Tensor) -> Tensor:
    """From the flattened tensor; negative places count from its end."""
    return x.reshape(-1)[index]


def diagonal_scatter(
    x: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """The source laid out as a diagonal, where the mask of one is set."""
    first, second = dim1 % x.ndim, dim2 % x.ndim
    rows = torch.arange(x.shape[first]).unsqueeze(1)
    columns = torch.arange(x.shape[second]).unsqueeze(0)
    on = columns - rows == offset
    place = (rows if offset >= 0 else columns).expand_as(on).clamp(max=src.shape[-1] - 1)
    inner = src[..., place]
    moved = x.movedim((first, second), (-2, -1))
    return torch.where(on, inner, moved).movedim((-2, -1), (first, second))


def distances(x: Tensor, y: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:
    """Norms of the differences of all rows."""
    gaps = (x.unsqueeze(-2) - y.unsqueeze(-3)).abs()
    if p == 0:
        return (gaps != 0).sum(-1).to(x.dtype)
    if p == 1:
        return gaps.sum(-1)
    if p == 2:
        return (gaps * gaps).sum(-1).sqrt()
    return gaps.amax(-1) if math.isinf(p) else gaps.pow(p).sum(-1).pow(1 / p)


def pair_distances(x: Tensor, p: float = 2.0) -> Tensor:
    """Each pair once."""
    rows, columns = torch.triu_indices(x.shape[0], x.shape[0], 1)
    return distances(x, x, p)[rows, columns]


def mean(
    x: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """In the type that is asked for: integers are converted before they are added up."""
    if dtype is None:
        return NotImplemented
    return _ATEN.mean.dim(x.to(dtype), dim, keepdim)


FORMS: Mapping[Any, OwnForm] = {
    _ATEN.squeeze.default: OwnForm(squeeze, _squeeze_needed),
    _ATEN.squeeze.dim: OwnForm(squeeze, _squeeze_needed),
    _ATEN.squeeze.dims: OwnForm(squeeze, _squeeze_needed),
    _ATEN.masked_select.default: OwnForm(masked_select),
    _ATEN.scatter.reduce: OwnForm(scatter_reduced),
    _ATEN.scatter.value_reduce: OwnForm(
        lambda x, dim, index, value, *, reduce: scatter_reduced(x, dim, index, value, reduce=reduce)
    ),
    _ATEN.index_reduce.default: OwnForm(index_reduce),
    _ATEN.put.default: OwnForm(put),
    _ATEN.take.default: OwnForm(take),
    _ATEN.diagonal_scatter.default: OwnForm(diagonal_scatter),
    _ATEN.cdist.default: OwnForm(distances),
    _ATEN.pdist.default: OwnForm(pair_distances),
    _ATEN.mean.dim: OwnForm(mean, lambda given: given["dtype"] is not None),
}
"""operator -> own decomposition."""
