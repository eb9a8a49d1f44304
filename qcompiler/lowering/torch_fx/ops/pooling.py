"""Pooling, with ONNX padding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from qcompiler.ir.paddings import window_pads
from qcompiler.lowering.torch_fx.ops.window import CONV, is_even, or_ones, pad_constant, torch_pad

_MAX_POOL: dict[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_AVG_POOL: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


def _lowest(x: Tensor) -> float:
    """What never wins a maximum over elements of x."""
    if x.is_quantized:
        return -x.q_zero_point() * x.q_scale()  # the real value of the integer 0
    return float("-inf") if x.dtype.is_floating_point else torch.iinfo(x.dtype).min


@dataclass(frozen=True)
class _Pool:
    """The windows of a pooling; lists have an element per spatial axis.

    Attributes:
        kernel: Sizes.
        stride: Steps between windows.
        dilation: Steps inside a window.
        pads: [begin..., end...].
        extra: Cells at each end beyond the pads, which only ceil mode reads.
    """

    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    pads: list[int]
    extra: list[int]

    @classmethod
    def of(
        cls,
        x: Tensor,
        kernel_shape: Sequence[int],
        strides: Sequence[int] | None,
        dilations: Sequence[int] | None,
        pads: Sequence[int] | None,
        auto_pad: str,
        ceil_mode: int,
    ) -> _Pool:
        """From the attributes, with ONNX's defaults, for an operand."""
        rank = len(kernel_shape)
        stride, dilation = or_ones(strides, rank), or_ones(dilations, rank)
        around = window_pads(x.shape[2:], kernel_shape, stride, dilation, pads, auto_pad)
        extra = _pool_end(x, kernel_shape, stride, dilation, around, ceil_mode)
        return cls(list(kernel_shape), stride, dilation, around, extra)

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def around(self) -> list[int]:
        """Pads with the extra cells, [begin..., end...]."""
        end = [a + e for a, e in zip(self.pads[self.rank :], self.extra, strict=True)]
        return self.pads[: self.rank] + end

    def sums(self, x: Tensor, around: Sequence[int]) -> Tensor:
        """Sum of each window, with zeros around x."""
        padded = functional.pad(x, torch_pad(around)).flatten(0, 1).unsqueeze(1)
        ones = torch.ones([1, 1, *self.kernel], dtype=x.dtype)
        total = CONV[self.rank](padded, ones, None, self.stride, 0, self.dilation)
        return total.reshape(*x.shape[:2], *total.shape[2:])


def _pool_end(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    around: list[int],
    ceil_mode: int,
) -> list[int]:
    """Extra cells at each end, so that floor division gives the ceil-mode size.

    The last window must begin inside the operand or its begin padding (ONNX 1.16, MaxPool).
    """
    if not ceil_mode:
        return [0] * len(kernel)
    extra = []
    rank = len(kernel)
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        size = x.shape[axis + 2] + around[axis] + around[axis + rank]
        reach = (k - 1) * d + 1
        count = math.ceil((size - reach) / s) + 1
        if (count - 1) * s >= x.shape[axis + 2] + around[axis]:
            count -= 1
        extra.append(max((count - 1) * s + reach - size, 0))
    return extra


def max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """MaxPool (first output); padding never wins."""
    del storage_order
    pool = _Pool.of(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    kernel, stride, dilation, around = pool.kernel, pool.stride, pool.dilation, pool.around
    begin = around[: pool.rank]
    if is_even(around) and all(2 * p <= k for p, k in zip(begin, kernel, strict=True)):
        return _MAX_POOL[pool.rank](x, kernel, stride, begin, dilation)
    padded = pad_constant(x, torch_pad(around), _lowest(x))
    return _MAX_POOL[pool.rank](padded, kernel, stride, 0, dilation)


def max_pool_indices(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """MaxPool with the place of each maximum in the whole operand, by rows or by columns."""
    pool = _Pool.of(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    wide = x if x.dtype.is_floating_point else x.to(torch.float64)
    padded = functional.pad(wide, torch_pad(pool.around), value=float("-inf"))
    y, place = _MAX_POOL[pool.rank](
        padded, pool.kernel, pool.stride, 0, pool.dilation, return_indices=True
    )
    coordinates = []
    for axis in reversed(range(2, x.dim())):
        coordinates.append(place % padded.shape[axis] - pool.pads[axis - 2])
        place = place // padded.shape[axis]
    spatial = list(zip(reversed(coordinates), x.shape[2:], strict=True))
    flat = torch.zeros_like(place)
    for where, size in reversed(spatial) if storage_order else spatial:
        flat = flat * size + where
    images = torch.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * pool.rank)
    return y.to(x.dtype), flat + images * math.prod(x.shape[2:])


def average_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """AveragePool; cells that only ceil mode adds are never counted."""
    pool = _Pool.of(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    begin = pool.pads[: pool.rank]
    fits = is_even(pool.pads) and all(2 * p <= k for p, k in zip(begin, pool.kernel, strict=True))
    if fits and set(pool.dilation) == {1}:
        modes = bool(ceil_mode), bool(count_include_pad)
        return _AVG_POOL[pool.rank](x, pool.kernel, pool.stride, begin, *modes)
    inside, beyond = torch.ones_like(x[:1, :1]), pool.around
    if count_include_pad:
        inside = functional.pad(inside, torch_pad(pool.pads), value=1.0)
        beyond = [0] * pool.rank + pool.extra
    return pool.sums(x, pool.around) / pool.sums(inside, beyond)


def lp_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """LpPool: (sum |x|^p)^(1/p) over the elements in each window."""
    pool = _Pool.of(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return pool.sums(x.abs() ** p, pool.around) ** (1.0 / p)


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.dim()))


def global_average_pool(x: Tensor) -> Tensor:
    """GlobalAveragePool."""
    return x.mean(dim=_spatial(x), keepdim=True)


def global_max_pool(x: Tensor) -> Tensor:
    """GlobalMaxPool."""
    return x.amax(dim=_spatial(x), keepdim=True)


def global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    """GlobalLpPool."""
    length: Tensor = torch.linalg.vector_norm(x, ord=p, dim=_spatial(x), keepdim=True)
    return length
