"""`FakeQuantize`: values brought onto a quantized grid, with a straight-through gradient.

The grid is that of `quantization.numerics.quantize`, bit by bit. The gradient is that of the
identity where nothing saturates and zero elsewhere (Bengio et al. 2013; Jacob et al. 2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from qcompiler.lowering.torch_fx.element_types import torch_dtype
from qcompiler.quantization.numerics import expand
from qcompiler.quantization.qspace import QParams


class StraightThrough(torch.autograd.Function):
    """(x, scale, zero point, lowest, highest, float8 type or None) -> x on the grid."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """x in its own type; scale and zero point broadcast over it."""
        x, scale, zero, low, high, float8 = given
        steps = x / scale
        steps = steps if float8 is not None else torch.round(steps) + zero
        ctx.save_for_backward((steps >= low) & (steps <= high))
        kept = steps.clamp(low, high)
        if float8 is not None:
            kept = kept.to(float8).to(x.dtype)
        return (kept - zero) * scale  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The gradient where x lies inside the grid."""
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None, None, None, None, None


class FakeQuantize(torch.nn.Module):
    """A quantized grid for values of one shape.

    NaN stays NaN; on a grid of levels (`LevelGrid`) it becomes the highest one.

    Args:
        params: Scale, zero point and space.
        shape: Of the values; only granularities other than per tensor need it.
    """

    def __init__(self, params: QParams, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        space = params.space
        # float64: a float32 quotient has 24 bits only, an int32 bias has 31.
        self._wide = space.storage_bits > 16
        kind = np.float64 if self._wide else np.float32
        parts = (expand(part, shape, params) for part in (params.scale, params.zero_point))
        scale, zero = (torch.from_numpy(np.array(each, kind)) for each in parts)
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", zero)
        self.low, self.high = float(space.qmin), float(space.qmax)
        self._float8 = torch_dtype(space.dtype.value) if space.is_float else None

    def forward(self, x: Tensor) -> Tensor:
        """Values of the grid, in the type of x."""
        given = x.double() if self._wide else x
        grid = (self.scale, self.zero_point, self.low, self.high, self._float8)
        found: Tensor = StraightThrough.apply(given, *grid)  # type: ignore[no-untyped-call]
        return found.to(x.dtype)


class LevelGrid(torch.nn.Module):
    """A grid of levels that are not even.

    Args:
        params: Levels and scales.
        shape: Of the values; only tables or scales per channel need it.
    """

    scale: Tensor
    levels: Tensor

    def __init__(self, params: QParams, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        assert params.levels is not None
        self._params = params
        scale = np.array(expand(params.scale, shape, params), np.float32)
        self.register_buffer("scale", torch.from_numpy(scale))
        self.register_buffer("levels", torch.from_numpy(np.array(params.levels)))

    def forward(self, x: Tensor) -> Tensor:
        """Values of the grid, in the type of x."""
        return on_levels(x, self.levels, self.scale, self._params)


def spread(part: Tensor, params: QParams, x: Tensor) -> Tensor:
    """A scale or zero point in a shape that broadcasts against x, in its type; see `expand`."""
    part, axis = part.to(x.dtype), params.axis
    if axis is None or part.dim() == 0:
        return part
    axis %= x.dim()
    size = params.space.group_size
    if size is not None and not params.space.is_table:
        return part.repeat_interleave(size, axis).narrow(axis, 0, x.shape[axis])
    return part.reshape((-1,) + (1,) * (x.dim() - axis - 1))


def on_levels(x: Tensor, levels: Tensor, scale: Tensor, params: QParams) -> Tensor:
    """The nearest level of every value, with the gradient of the identity; levels get theirs, too.

    Args:
        x: Any shape; computed in float32.
        levels: [K] or [tables, K], ascending.
        scale: Broadcasts against x.
        params: Where tables lie.
    """
    axis = 0 if params.axis is None else params.axis
    steps = (x.detach().float() / scale.detach()).transpose(0, axis)
    tables = levels.reshape(-1, levels.shape[-1])
    if len(tables) > 1:
        channels = torch.arange(steps.shape[0], device=x.device)
        tables = tables[channels // (params.space.group_size or 1)]
    rows = steps.reshape(len(tables), -1)
    wide = tables.detach().double()
    index = torch.searchsorted((wide[:, 1:] + wide[:, :-1]) / 2.0, rows.double().contiguous())
    found = torch.gather(tables, 1, index).reshape(steps.shape).transpose(0, axis)
    # Exactly on the grid, with the gradient of x.
    return (found * scale).to(x.dtype) + (x - x.detach())


def fake_quantizer(params: QParams, shape: tuple[int, ...] = ()) -> torch.nn.Module:
    """The grid of some parameters: `FakeQuantize`, or `LevelGrid` where levels are not even."""
    kind = FakeQuantize if params.levels is None else LevelGrid
    return kind(params, shape)
