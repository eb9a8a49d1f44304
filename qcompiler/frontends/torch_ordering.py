"""Own decompositions of what goes by the order of elements: medians, modes, running extremes.

PyTorch's translation has none of them. Where elements are equal torch leaves open whose index comes
out; here it is the one that its CPU kernels give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from qcompiler.frontends.torch_form import OwnForm

_ATEN = torch.ops.aten
Pair = tuple[Tensor, Tensor]


def _picked(x: Tensor, dim: int, keepdim: bool, place: Any) -> Pair:
    """Value and index at a place of the sorted axis."""
    if not x.ndim:
        return x.clone(), torch.zeros_like(x, dtype=torch.int64)
    values, indices = _sorted(x, dim)
    if isinstance(place, Tensor):
        found = values.gather(dim, place), indices.gather(dim, place)
    else:
        found = values.narrow(dim, place, 1), indices.narrow(dim, place, 1)
    return found if keepdim else (found[0].squeeze(dim), found[1].squeeze(dim))


def _sorted(x: Tensor, dim: int, descending: bool = False) -> Pair:
    found: Pair = _ATEN.sort.default(x, dim, descending)
    return found


def median_dim(x: Tensor, dim: int, keepdim: bool = False) -> Pair:
    """The lower of the two in the middle; NaN where there is one (sorted behind all others)."""
    size = x.shape[dim] if x.ndim else 1
    values, indices = _picked(x, dim, keepdim, (size - 1) // 2)
    if not x.is_floating_point():
        return values, indices
    bad = x.isnan()
    return torch.where(bad.any(dim, keepdim), math.nan, values), indices


def median(x: Tensor) -> Tensor:
    """Of all elements."""
    return median_dim(x.reshape(-1), 0)[0]


def nanmedian_dim(x: Tensor, dim: int, keepdim: bool = False) -> Pair:
    """Of the elements that are numbers."""
    if not x.is_floating_point() or not x.ndim:
        return median_dim(x, dim, keepdim)
    bad = x.isnan()
    place = ((bad.logical_not().sum(dim, keepdim=True) - 1) // 2).clamp(min=0)
    values, indices = _picked(torch.where(bad, math.inf, x), dim, keepdim, place)
    return torch.where(bad.all(dim, keepdim), math.nan, values), indices


def nanmedian(x: Tensor) -> Tensor:
    """Of all elements that are numbers."""
    return nanmedian_dim(x.reshape(-1), 0)[0]


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Pair:
    """The k-th smallest, counted from one."""
    return _picked(x, dim, keepdim, k - 1)


def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> Pair:
    """The smallest of the commonest values, and where it is last."""
    if not x.ndim:
        return x.clone(), torch.zeros_like(x, dtype=torch.int64)
    rows = x.movedim(dim, -1)
    counts = (rows.unsqueeze(-1) == rows.unsqueeze(-2)).sum(-1)
    values, indices = _sorted(rows, -1)
    place = counts.gather(-1, indices).argmax(-1, keepdim=True)
    value = values.gather(-1, place)
    steps = torch.arange(rows.shape[-1])
    last = torch.where(rows == value, steps, -1).amax(-1, keepdim=True)
    found = value.movedim(-1, dim), last.movedim(-1, dim)
    return found if keepdim else (found[0].squeeze(dim), found[1].squeeze(dim))


def _before(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """For every place the whole axis beside it, and which elements are not behind the place."""
    rows = x.movedim(dim, -1)
    steps = torch.arange(rows.shape[-1])
    return rows.unsqueeze(-2), steps.unsqueeze(0) <= steps.unsqueeze(1)


def _running(largest: bool) -> Callable[[Tensor, int], Pair]:
    def form(x: Tensor, dim: int) -> Pair:
        if not x.ndim:
            return x.clone(), torch.zeros_like(x, dtype=torch.int64)
        rows, seen = _before(x, dim)
        shown = torch.where(seen, rows, _lowest(x.dtype) if largest else _highest(x.dtype))
        values = shown.amax(-1) if largest else shown.amin(-1)
        same = rows == values.unsqueeze(-1)
        if x.is_floating_point():  # NaN is beyond all others
            bad = rows.isnan()
            values = torch.where((seen & bad).any(-1), math.nan, values)
            same = (rows == values.unsqueeze(-1)) | bad
        indices = torch.where(seen & same, torch.arange(x.shape[dim]), 0).amax(-1)
        return values.movedim(-1, dim), indices.movedim(-1, dim)

    return form


def _lowest(dtype: torch.dtype) -> float | int:
    return -math.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def _highest(dtype: torch.dtype) -> float | int:
    return math.inf if dtype.is_floating_point else torch.iinfo(dtype).max


def cumprod(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Products of all elements up to each."""
    kind = dtype or (x.dtype if x.is_floating_point() else torch.int64)
    x = x.to(kind)
    if not x.ndim:
        return x.clone()
    rows, seen = _before(x, dim)
    return torch.where(seen, rows, torch.ones_like(rows)).prod(-1).movedim(-1, dim)


def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    """log of the sum of exponentials of all elements up to each."""
    if not x.ndim:
        return x.clone()
    rows, seen = _before(x, dim)
    return torch.where(seen, rows, -math.inf).logsumexp(-1).movedim(-1, dim)


def sort_stable(
    x: Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> Pair:
    """ONNX sorts equal elements by their index anyway."""
    return _sorted(x, dim, descending)


def aminmax(x: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """Over all axes."""
    if dim is not None:
        return NotImplemented
    axes = list(range(x.ndim))
    return x.amin(axes, keepdim), x.amax(axes, keepdim)


def over_all(op: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction over no named axis: over all of them."""

    def form(x: Tensor, dim: Sequence[int] = (), keepdim: bool = False) -> Any:
        return op(x, list(range(x.ndim)), keepdim) if x.ndim and not dim else NotImplemented

    return form


def truth(x: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False) -> Any:
    """any and all over an empty list of axes: each element alone, as torch has it."""
    return NotImplemented if dim is None or dim or not x.ndim else x != 0


def nansum(
    x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    """The sum of what is a number; integers all are."""
    if x.is_floating_point():
        x = torch.where(x.isnan(), torch.zeros_like(x), x)
    return torch.sum(x, dim or list(range(x.ndim)), keepdim, dtype=dtype)


def searchsorted(
    edges: Tensor,
    x: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Any:
    """How many of the sorted last axis are smaller (right: or equal); all are smaller than NaN."""
    if sorter is not None:
        edges = edges.gather(-1, sorter)
    row, value = edges.unsqueeze(-2), x.unsqueeze(-1)
    if edges.ndim == 1:
        row = edges
    above = row > value if right or side == "right" else row >= value
    return above.logical_not().sum(-1, dtype=torch.int32 if out_int32 else torch.int64)


def isin(x: Tensor, tests: Tensor, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Each element against all."""
    found = (x.unsqueeze(-1) == tests.reshape(-1)).any(-1)
    return found.logical_not() if invert else found


def histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Any:  # noqa: A002 - torch's names
    """Numbers of elements in bins of one width."""
    flat = x.reshape(-1, 1)
    low: Any = min
    high: Any = max
    if min == max:  # of the elements, or around the only one
        low, high = flat.amin((0, 1)), flat.amax((0, 1))
        around = (low == high).to(x.dtype)
        low, high = low - around, high + around
    place = ((flat - low) * bins / (high - low)).floor()
    place = torch.where(flat == high, torch.full_like(place, bins - 1), place)
    inside = (flat >= low) & (flat <= high)
    return ((place == torch.arange(bins, dtype=x.dtype)) & inside).sum(0).to(x.dtype)


def _no_axes(given: Mapping[str, Any]) -> bool:
    return not given["dim"]


def _empty(given: Mapping[str, Any]) -> bool:
    return given["dim"] is not None and not given["dim"]


FORMS: Mapping[Any, OwnForm] = {
    _ATEN.median.default: OwnForm(median),
    _ATEN.median.dim: OwnForm(median_dim),
    _ATEN.nanmedian.default: OwnForm(nanmedian),
    _ATEN.nanmedian.dim: OwnForm(nanmedian_dim),
    _ATEN.kthvalue.default: OwnForm(kthvalue),
    _ATEN.mode.default: OwnForm(mode),
    _ATEN.cummax.default: OwnForm(_running(True)),
    _ATEN.cummin.default: OwnForm(_running(False)),
    _ATEN.cumprod.default: OwnForm(cumprod),
    _ATEN.logcumsumexp.default: OwnForm(logcumsumexp),
    _ATEN.sort.stable: OwnForm(sort_stable),
    _ATEN.aminmax.default: OwnForm(aminmax, lambda given: given["dim"] is None),
    _ATEN.amax.default: OwnForm(over_all(_ATEN.amax.default), _no_axes),
    _ATEN.amin.default: OwnForm(over_all(_ATEN.amin.default), _no_axes),
    _ATEN.any.dims: OwnForm(truth, _empty),
    _ATEN.all.dims: OwnForm(truth, _empty),
    _ATEN.nansum.default: OwnForm(nansum),
    _ATEN.searchsorted.Tensor: OwnForm(searchsorted),
    _ATEN.bucketize.Tensor: OwnForm(lambda x, edges, **options: searchsorted(edges, x, **options)),
    _ATEN.isin.Tensor_Tensor: OwnForm(isin),
    _ATEN.histc.default: OwnForm(histc),
}
"""operator -> own decomposition."""
