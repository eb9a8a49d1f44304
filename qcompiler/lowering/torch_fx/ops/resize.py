"""Resize: nearest, linear and cubic along any axes, by separable gathering.

Common 4-D cases go to `torch.nn.functional.interpolate`, which computes the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn import functional

from qcompiler.lowering.torch_fx.ops.operands import Ints, Numbers, axes_of, ints, numbers

_ROUNDING: dict[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda p: torch.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: torch.floor(p + 0.5),
    "floor": torch.floor,
    "ceil": torch.ceil,
}


def resize(
    x: Tensor,
    roi: Numbers | None = None,
    scales: Numbers | None = None,
    sizes: Ints | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    """Resize; `tf_crop_and_resize` takes its region from `roi`."""
    along = axes_of(list(axes) if axes is not None else None, x.dim())
    factors, targets = _extent(x, along, scales, sizes, keep_aspect_ratio_policy)
    transform = coordinate_transformation_mode
    fast = _fast(x, along, factors, targets, transform, mode, nearest_mode)
    if fast is not None and not antialias:
        return fast
    crop = transform == "tf_crop_and_resize"
    region = numbers(roi) if crop and roi is not None else [0.0] * len(along) + [1.0] * len(along)
    for place, (axis, factor, target) in enumerate(zip(along, factors, targets, strict=True)):
        if target == x.shape[axis] and factor == 1.0 and not crop:
            continue
        source = x.shape[axis]
        if crop:
            ends = region[place], region[place + len(along)]
            position = _cropped(source, target, *ends)
        else:
            position = _positions(source, target, factor, transform)
        if mode == "nearest":
            x = _take(x, axis, _ROUNDING[nearest_mode](position))
        elif antialias and factor < 1.0:
            x = _smoothed(x, axis, position, factor, mode, cubic_coeff_a, bool(exclude_outside))
        elif mode == "linear":
            x = _linear(x, axis, position)
        else:
            x = _cubic(x, axis, position, cubic_coeff_a, bool(exclude_outside))
        if crop:
            outside = _along((position < 0) | (position > source - 1), axis, x.dim())
            x = torch.where(outside, torch.full_like(x, extrapolation_value), x)
    return x


def _cropped(size: int, target: int, start: float, end: float) -> Tensor:
    """Source coordinates of `tf_crop_and_resize`."""
    if target == 1:
        return torch.full((1,), 0.5 * (start + end) * (size - 1))
    step = (end - start) * (size - 1) / (target - 1)
    return start * (size - 1) + torch.arange(target, dtype=torch.float32) * step


def _smoothed(
    x: Tensor, axis: int, position: Tensor, factor: float, mode: str, a: float, exclude: bool
) -> Tensor:
    """Antialiased: the filter is stretched by 1 / factor; taps outside repeat the edge or go."""
    size = x.shape[axis]
    reach = math.ceil(2 / factor) + 1
    taps = torch.arange(-reach, size + reach, dtype=torch.float32)
    d = ((taps.unsqueeze(0) - position.unsqueeze(1)) * factor).abs()
    spread = torch.clamp(1 - d, min=0) if mode == "linear" else _keys(d, a)
    weights = spread[:, reach : reach + size].clone()
    if not exclude:
        weights[:, 0] += spread[:, :reach].sum(1)
        weights[:, -1] += spread[:, reach + size :].sum(1)
    weights = (weights / weights.sum(1, keepdim=True)).to(x.dtype)
    found: Tensor = torch.tensordot(x, weights, dims=([axis], [1]))
    return found.movedim(-1, axis)


def _keys(d: Tensor, a: float) -> Tensor:
    """Keys' cubic filter at distances d."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))


def _extent(
    x: Tensor, axes: list[int], scales: Numbers | None, sizes: Ints | None, policy: str
) -> tuple[list[float], list[int]]:
    """Scale and output size of each axis. Sizes are rounded down from float32 products."""
    if sizes is not None and len(ints(sizes)):
        targets = ints(sizes)
        factors = [_ratio(t, x.shape[a]) for t, a in zip(targets, axes, strict=True)]
        if policy == "stretch":
            return factors, targets
        factor = min(factors) if policy == "not_larger" else max(factors)
        return [factor] * len(axes), [math.floor(factor * x.shape[a] + 0.5) for a in axes]
    assert scales is not None
    factors = numbers(scales)
    return factors, [_floor_product(x.shape[a], f) for a, f in zip(axes, factors, strict=True)]


def _ratio(target: int, size: int) -> float:
    """Exactly 1 for an open size that stays: torch.export would guard on the quotient."""
    if isinstance(target, torch.SymInt) and statically_known_true(target == size):
        return 1.0
    return target / size


def _floor_product(size: int, factor: float) -> int:
    """floor(size * factor) in float32, as ONNX Runtime computes it."""
    if factor == 1.0:
        return size
    return int(np.float32(size) * np.float32(factor))


def _positions(size: int, target: int, factor: float, transform: str) -> Tensor:
    """Source coordinate of every output index (ONNX Resize, coordinate_transformation_mode)."""
    index = torch.arange(target, dtype=torch.float32)
    if transform == "asymmetric":
        return index / factor
    if transform == "align_corners":
        return index * ((size - 1) / (target - 1)) if target > 1 else torch.zeros(target)
    if transform == "pytorch_half_pixel" and target == 1:
        return torch.full((1,), -0.5)
    if transform == "half_pixel_symmetric":
        adjustment = target / (factor * size)
        return size / 2 * (1 - adjustment) + (index + 0.5) / factor - 0.5
    return (index + 0.5) / factor - 0.5


def _take(x: Tensor, axis: int, position: Tensor) -> Tensor:
    return x.index_select(axis, position.to(torch.int64).clamp(0, x.shape[axis] - 1))


def _along(weights: Tensor, axis: int, rank: int) -> Tensor:
    return weights.reshape([-1 if i == axis else 1 for i in range(rank)])


def _linear(x: Tensor, axis: int, position: Tensor) -> Tensor:
    inside = position.clamp(0, x.shape[axis] - 1)
    low = torch.floor(inside)
    fraction = _along(inside - low, axis, x.dim()).to(x.dtype)
    return _take(x, axis, low) * (1 - fraction) + _take(x, axis, low + 1) * fraction


def _cubic(x: Tensor, axis: int, position: Tensor, a: float, exclude: bool) -> Tensor:
    """Keys' cubic convolution over four taps; taps outside repeat the edge or are left out."""
    low = torch.floor(position)
    taps, weights = [], []
    for offset in (-1, 0, 1, 2):
        d = (position - (low + offset)).abs()
        weight = _keys(d, a)
        if exclude:
            place = low + offset
            weight = torch.where((place < 0) | (place >= x.shape[axis]), 0.0, weight)
        taps.append(low + offset)
        weights.append(weight)
    total = sum(weights, torch.zeros_like(position)) if exclude else torch.ones_like(position)
    parts = [
        _take(x, axis, tap) * _along(weight / total, axis, x.dim()).to(x.dtype)
        for tap, weight in zip(taps, weights, strict=True)
    ]
    return sum(parts[1:], parts[0])


def _fast(
    x: Tensor,
    axes: list[int],
    factors: list[float],
    targets: list[int],
    transform: str,
    mode: str,
    nearest: str,
) -> Tensor | None:
    """`interpolate` for whole-number upsampling of NCHW, where it is the same function."""
    scale = dict(zip(axes, factors, strict=True))
    size = dict(zip(axes, targets, strict=True))
    if x.dim() != 4 or any(scale.get(i, 1.0) != 1.0 for i in (0, 1)):
        return None
    wanted = [size.get(i, x.shape[i]) for i in (2, 3)]
    if any(wanted[i] % x.shape[i + 2] for i in (0, 1)):
        return None
    if mode == "nearest" and transform == "asymmetric" and nearest == "floor":
        return functional.interpolate(x, size=wanted, mode="nearest")
    if mode == "linear" and transform in ("half_pixel", "align_corners"):
        corners = transform == "align_corners"
        return functional.interpolate(x, size=wanted, mode="bilinear", align_corners=corners)
    return None
