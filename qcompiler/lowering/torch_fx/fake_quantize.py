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

    NaN stays NaN.

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
