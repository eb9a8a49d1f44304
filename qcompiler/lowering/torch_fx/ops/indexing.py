"""Gather, scatter, selection and sorting."""

from __future__ import annotations

import torch
from torch import Tensor

from qcompiler.lowering.torch_fx.ops.operands import Ints, integer


def _wrapped(indices: Tensor, size: int) -> Tensor:
    index = indices.to(torch.int64)
    return torch.where(index < 0, index + size, index)


def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """Gather: slices of `axis`; negative indices count from the end."""
    along = axis % x.dim()
    index = _wrapped(indices, x.shape[along])
    chosen = x.index_select(along, index.reshape(-1))
    return chosen.reshape([*x.shape[:along], *index.shape, *x.shape[along + 1 :]])


def gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """GatherElements."""
    return torch.gather(x, axis, _wrapped(indices, x.shape[axis]))


def gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    """GatherND: the last axis of `indices` holds coordinates."""
    depth = indices.shape[-1]
    batch = list(x.shape[:batch_dims])
    rows = x.reshape(-1, *x.shape[batch_dims:]) if batch_dims else x.unsqueeze(0)
    where = indices.reshape(rows.shape[0], -1, depth)
    places = [_wrapped(where[..., i], rows.shape[i + 1]) for i in range(depth)]
    first = torch.arange(rows.shape[0]).unsqueeze(1).expand_as(places[0])
    chosen = rows[(first, *places)]
    return chosen.reshape([*batch, *indices.shape[batch_dims:-1], *x.shape[batch_dims + depth :]])


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def scatter_elements(
    x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    """ScatterElements, with reduction."""
    index = _wrapped(indices, x.shape[axis])
    if reduction == "none":
        return x.scatter(axis, index, updates)
    return x.scatter_reduce(axis, index, updates, _REDUCTIONS[reduction], include_self=True)


def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    """ScatterND, by flat row numbers so that every reduction works."""
    depth = indices.shape[-1]
    strides = [1] * depth
    for i in reversed(range(depth - 1)):
        strides[i] = strides[i + 1] * x.shape[i + 1]
    rows = torch.zeros(indices.shape[:-1], dtype=torch.int64)
    for i, stride in enumerate(strides):
        rows = rows + _wrapped(indices[..., i], x.shape[i]) * stride
    flat = x.reshape(-1, *x.shape[depth:])
    new = updates.reshape(-1, *x.shape[depth:])
    if reduction == "none":
        return flat.index_copy(0, rows.reshape(-1), new).reshape(x.shape)
    index = rows.reshape(-1, *[1] * (x.dim() - depth)).expand_as(new)
    method = _REDUCTIONS[reduction]
    return flat.scatter_reduce(0, index, new, method, include_self=True).reshape(x.shape)


def top_k(
    x: Tensor,
    k: Ints,
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,  # noqa: A002
) -> tuple[Tensor, Tensor]:
    """TopK; among equal values the lower index comes first."""
    del sorted
    count = integer(k)
    values, order = torch.sort(x, dim=axis, descending=bool(largest), stable=True)
    return values.narrow(axis, 0, count), order.narrow(axis, 0, count)


def _arg(x: Tensor, axis: int, keepdims: int, last: int, largest: bool) -> Tensor:
    flipped = x.flip(axis) if last else x
    found = (torch.argmax if largest else torch.argmin)(flipped, dim=axis, keepdim=bool(keepdims))
    return x.shape[axis] - 1 - found if last else found


def arg_max(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """ArgMax."""
    return _arg(x, axis, keepdims, select_last_index, True)


def arg_min(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """ArgMin."""
    return _arg(x, axis, keepdims, select_last_index, False)


def non_zero(x: Tensor) -> Tensor:
    """NonZero as int64[rank, count]."""
    return torch.nonzero(x).t()


def cum_sum(x: Tensor, axis: Ints, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """CumSum along one axis."""
    along = integer(axis)
    y = x.flip(along) if reverse else x
    total = torch.cumsum(y, dim=along, dtype=x.dtype)
    total = total - y if exclusive else total
    return total.flip(along) if reverse else total


def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    """Compress: the slices whose condition is true; flat without an axis."""
    chosen = torch.nonzero(condition).reshape(-1)
    return x.reshape(-1)[chosen] if axis is None else x.index_select(axis, chosen)


def _corners(boxes: Tensor, center: int) -> Tensor:
    if center:
        half = boxes[:, 2:] / 2
        return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], dim=1)
    low = torch.minimum(boxes[:, :2], boxes[:, 2:])
    return torch.cat([low, torch.maximum(boxes[:, :2], boxes[:, 2:])], dim=1)


def _overlap(box: Tensor, others: Tensor) -> Tensor:
    sides = torch.clamp(
        torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2]), min=0
    )
    shared = sides.prod(dim=1)
    areas = (others[:, 2:] - others[:, :2]).prod(dim=1)
    return shared / ((box[2:] - box[:2]).prod() + areas - shared)


def _suppress(boxes: Tensor, scores: Tensor, limit: int, iou: float, least: float) -> list[int]:
    kept: list[int] = []
    order: list[int] = torch.sort(scores, descending=True, stable=True)[1].tolist()
    for index in order:
        if len(kept) >= limit or float(scores[index]) <= least:
            break
        if not kept or bool((_overlap(boxes[index], boxes[kept]) <= iou).all()):
            kept.append(index)
    return kept


def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    most: Ints | None = None,
    iou: Tensor | None = None,
    least: Tensor | None = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    """NonMaxSuppression: int64[n, 3] of (batch, class, box)."""
    limit = integer(most) if most is not None else 0
    overlap = float(iou.item()) if iou is not None else 0.0
    bottom = float(least.item()) if least is not None else float("-inf")
    rows: list[list[int]] = []
    for batch in range(scores.shape[0]):
        corners = _corners(boxes[batch], center_point_box)
        for kind in range(scores.shape[1]):
            kept = _suppress(corners, scores[batch, kind], limit, overlap, bottom)
            rows += [[batch, kind, index] for index in kept]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)


def grid_sample(
    x: Tensor,
    grid: Tensor,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Tensor:
    """GridSample."""
    names = {"linear": "bilinear", "cubic": "bicubic"}
    return torch.nn.functional.grid_sample(
        x,
        grid,
        mode=names.get(mode, mode),
        padding_mode=padding_mode,
        align_corners=bool(align_corners),
    )
