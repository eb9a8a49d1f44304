"""Sampling at computed places: regions of interest, deformable convolution, affine grids, folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from qcompiler.lowering.torch_fx.ops.operands import Ints, ints
from qcompiler.lowering.torch_fx.ops.window import torch_pad


def affine_grid(theta: Tensor, size: Ints, *, align_corners: int = 0) -> Tensor:
    """AffineGrid for images [N, C, (D,) H, W]."""
    return functional.affine_grid(theta, ints(size), align_corners=bool(align_corners))


def col2im(
    x: Tensor,
    image_shape: Ints,
    block_shape: Ints,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Col2Im: columns [N, C * prod(block), L] summed into images [N, C, *image]."""
    image, block = ints(image_shape), ints(block_shape)
    rank = len(image)
    step, reach = list(strides or [1] * rank), list(dilations or [1] * rank)
    around = list(pads or [0] * 2 * rank)
    padded = [size + around[i] + around[i + rank] for i, size in enumerate(image)]
    axes = list(zip(padded, block, step, reach, strict=True))
    counts = [(size - (k - 1) * d - 1) // s + 1 for size, k, s, d in axes]
    columns = x.reshape(x.shape[0], -1, *block, *counts)
    total = x.new_zeros(x.shape[0], columns.shape[1], *padded)
    for tap in product(*(range(k) for k in block)):
        place: list[Any] = list(tap)
        where: list[Any] = [
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, (_, _, s, d), n in zip(place, axes, counts, strict=True)
        ]
        total[:, :, *where] += columns[:, :, *place]
    return functional.pad(total, [-each for each in torch_pad(around)])


def _bilinear(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """image [..., H, W] at float places of one shape; 0 outside, linear between."""
    height, width = image.shape[-2:]
    low_y, low_x = torch.floor(y), torch.floor(x)
    total = image.new_zeros(())
    for dy, dx in product((0, 1), (0, 1)):
        row, column = (low_y + dy).to(torch.int64), (low_x + dx).to(torch.int64)
        weight = (1 - (y - row).abs()) * (1 - (x - column).abs())
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        taken = image[..., row.clamp(0, height - 1), column.clamp(0, width - 1)]
        total = total + taken * torch.where(inside, weight, torch.zeros_like(weight))
    return total


def deform_conv(
    x: Tensor,
    w: Tensor,
    offset: Tensor,
    b: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    offset_group: int = 1,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """DeformConv of images: taps are moved by offsets and weighted by a mask."""
    del kernel_shape
    kernel = list(w.shape[2:])
    step, reach = list(strides or [1, 1]), list(dilations or [1, 1])
    begin = list(pads or [0] * 4)[:2]
    batch, channels = x.shape[:2]
    height, width = offset.shape[2:]
    taps = kernel[0] * kernel[1]
    moves = offset.reshape(batch, offset_group, taps, 2, height, width)
    masks = None if mask is None else mask.reshape(batch, offset_group, taps, height, width)
    rows = torch.arange(height).unsqueeze(1) * step[0] - begin[0]
    columns = torch.arange(width).unsqueeze(0) * step[1] - begin[1]
    share = channels // offset_group
    samples = x.new_zeros(batch, channels, taps, height, width)
    for n, g, tap in product(range(batch), range(offset_group), range(taps)):
        i, j = divmod(tap, kernel[1])
        y = rows + i * reach[0] + moves[n, g, tap, 0]
        z = columns + j * reach[1] + moves[n, g, tap, 1]
        part = slice(g * share, (g + 1) * share)
        found = _bilinear(x[n, part], y, z)
        samples[n, part, tap] = found if masks is None else found * masks[n, g, tap]
    grouped = samples.reshape(batch, group, channels // group * taps, height * width)
    weight = w.reshape(group, w.shape[0] // group, -1)
    y = torch.einsum("gok,ngkp->ngop", weight, grouped)
    y = y.reshape(batch, w.shape[0], height, width)
    return y if b is None else y + b.reshape(-1, 1, 1)


def roi_align(
    x: Tensor,
    rois: Tensor,
    batch: Tensor,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    """RoiAlign: means or maxima of bilinear samples in each bin of each region."""
    half = coordinate_transformation_mode == "half_pixel"
    bins = (output_height, output_width)
    rows = []
    for roi, index in zip(rois, batch.tolist(), strict=True):
        left, top, right, bottom = (roi * spatial_scale - (0.5 if half else 0.0)).tolist()
        sizes = [bottom - top, right - left]
        if not half:
            sizes = [max(size, 1.0) for size in sizes]
        steps = [size / count for size, count in zip(sizes, bins, strict=True)]
        grid = [sampling_ratio or max(math.ceil(step), 1) for step in steps]
        y, z = (
            first + (torch.arange(count * each, dtype=x.dtype) + 0.5) * (step / each)
            for first, count, each, step in zip((top, left), bins, grid, steps, strict=True)
        )
        rows.append(_pooled(_samples(x[index], y, z, mode), bins, grid, mode))
    if not rows:
        return x.new_zeros(0, x.shape[1], *bins)
    return torch.stack(rows)


def _samples(image: Tensor, y: Tensor, z: Tensor, mode: str) -> Tensor:
    """Samples [C, rows, columns]; places up to one cell outside are moved to the edge."""
    height, width = image.shape[-2:]
    rows, columns = torch.meshgrid(y, z, indexing="ij")
    inside = (rows >= -1) & (rows <= height) & (columns >= -1) & (columns <= width)
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    if mode == "max":
        found = _largest_share(image, rows, columns)
    else:
        found = _bilinear(image, rows, columns)
    return torch.where(inside, found, torch.zeros_like(found))


def _largest_share(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The largest weighted corner, as ONNX Runtime's RoiAlign takes the maximum."""
    height, width = image.shape[-2:]
    low_y, low_x = torch.floor(y), torch.floor(x)
    parts = []
    for dy, dx in product((0, 1), (0, 1)):
        row, column = low_y + dy, low_x + dx
        weight = (1 - (y - row).abs()) * (1 - (x - column).abs())
        row, column = row.to(torch.int64), column.to(torch.int64)
        parts.append(image[..., row.clamp(max=height - 1), column.clamp(max=width - 1)] * weight)
    return torch.stack(parts).amax(0)


def _pooled(found: Tensor, bins: tuple[int, int], grid: list[int], mode: str) -> Tensor:
    cells = found.reshape(-1, bins[0], grid[0], bins[1], grid[1])
    return cells.amax((2, 4)) if mode == "max" else cells.mean((2, 4))


def max_roi_pool(
    x: Tensor, rois: Tensor, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0
) -> Tensor:
    """MaxRoiPool: maxima over bins of whole cells; empty bins give 0."""
    height, width = x.shape[2:]
    rows = []
    for index, *corners in rois.tolist():
        left, top, right, bottom = (math.floor(each * spatial_scale + 0.5) for each in corners)
        steps = [
            max(bottom - top + 1, 1) / pooled_shape[0],
            max(right - left + 1, 1) / pooled_shape[1],
        ]
        made = x.new_zeros(x.shape[1], *pooled_shape)
        for i, j in product(range(pooled_shape[0]), range(pooled_shape[1])):
            first, last = _bin(top, steps[0], i, height)
            before, after = _bin(left, steps[1], j, width)
            if last > first and after > before:
                made[:, i, j] = x[int(index), :, first:last, before:after].amax((1, 2))
        rows.append(made)
    return torch.stack(rows) if rows else x.new_zeros(0, x.shape[1], *pooled_shape)


def _bin(start: int, step: float, index: int, size: int) -> tuple[int, int]:
    first, last = math.floor(index * step) + start, math.ceil((index + 1) * step) + start
    return min(max(first, 0), size), min(max(last, 0), size)


def max_unpool(
    x: Tensor,
    indices: Tensor,
    output_shape: Ints | None = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """MaxUnpool: indices count in the tensor of the inferred shape, over all its axes."""
    rank = len(kernel_shape)
    step, around = list(strides or [1] * rank), list(pads or [0] * 2 * rank)
    inferred = [
        (size - 1) * s + k - around[i] - around[i + rank]
        for i, (size, s, k) in enumerate(zip(x.shape[2:], step, kernel_shape, strict=True))
    ]
    shape = [*x.shape[:2], *inferred]
    made = x.new_zeros(shape).reshape(-1)
    made = made.scatter(0, indices.reshape(-1), x.reshape(-1)).reshape(shape)
    if output_shape is None:
        return made
    wanted = ints(output_shape)
    grow = [0] * len(wanted) + [w - s for w, s in zip(wanted, shape, strict=True)]
    return functional.pad(made, torch_pad(grow))
