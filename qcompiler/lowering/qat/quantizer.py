"""`Quantizer`: a grid whose step, and for affine spaces offset, is learned or follows the data.

Rounding passes gradients straight through. The step's gradient is that of LSQ (Esser et al. 2020,
arXiv 1902.08153, equation 3), the offset's that of LSQ+ (Bhalgat et al. 2020, arXiv 2004.09576,
equations 4-6), both scaled by 1/sqrt(N * Qp). Parameters are kept relative to where they started,
so that an optimizer with steps of a fixed size (Adam) moves a scale of 0.01 by parts of it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qcompiler.lowering.qat.straight_through import OnLearnedGrid, Relative, Rounded
from qcompiler.lowering.torch_fx.element_types import torch_dtype
from qcompiler.lowering.torch_fx.fake_quantize import on_levels, spread
from qcompiler.quantization.qspace import Levels, QParams

_LEAST = 2.0**-20
"""Smallest step relative to the first one; a step of 0 or below has no grid."""
_FOLLOWED = 0.05
"""Share of a new batch in a moving average of its extremes."""


class Quantizer(torch.nn.Module):
    """A grid for the values of one scale group, or for a weight.

    Args:
        params: Where it starts.
        shape: Of a weight; empty for values that are computed.
        learned: Whether step and offset are parameters; otherwise they follow moving averages of
            the data (values) or the present extremes (weights).
        fixed: Nothing moves it: the kernel writes into a range of its own.
    """

    first_scale: Tensor
    first_zero_point: Tensor
    seen: Tensor

    def __init__(
        self,
        params: QParams,
        shape: tuple[int, ...] = (),
        learned: bool = True,
        fixed: bool = False,
    ) -> None:
        super().__init__()
        space = params.space
        self._space, self._axis, self._shape = space, params.axis, tuple(shape)
        self._low, self._high = float(space.qmin), float(space.qmax)
        self._float8 = torch_dtype(space.dtype.value) if space.is_float else None
        self.learned, self.frozen = learned, False
        self.fixed = fixed or space.is_float or space.is_table
        self.params = params
        self.floors: list[tuple[Quantizer, float]] = []
        scale = torch.from_numpy(np.array(params.scale, np.float32))
        zero = torch.from_numpy(np.array(params.zero_point, np.float32))
        self.register_buffer("first_scale", scale)
        self.register_buffer("first_zero_point", zero)
        trained = learned and not self.fixed
        self.step = torch.nn.Parameter(torch.ones_like(scale), requires_grad=trained)
        inside = (params.zero_point > space.qmin) & (params.zero_point < space.qmax)
        # An offset at an end stands for values of one sign, often for an activation.
        self.moves = not space.symmetric and not self.fixed and bool(np.all(inside) or shape)
        self._shifts = self.moves or bool(np.any(params.zero_point))
        self.levels: torch.nn.Parameter | None = None
        if params.levels is not None:
            start = torch.from_numpy(np.array(params.levels, np.float32))
            self.levels = torch.nn.Parameter(start, requires_grad=self._trains_levels)
        self.offset: torch.nn.Parameter | None = None
        if self.moves:
            self.offset = torch.nn.Parameter(torch.zeros_like(zero), requires_grad=trained)
        if not shape:
            ends = params.representable
            self.register_buffer("seen", torch.tensor([ends.low, ends.high]))

    @property
    def _trains_levels(self) -> bool:
        """Whether levels are moved: those of a codebook, not powers of two."""
        return self.learned and not self.frozen and self._space.levels is Levels.CODEBOOK

    @property
    def scale(self) -> Tensor:
        """The step in real units, of the parameters' own shape."""
        unit = self.first_scale
        relative = self.step.abs().clamp(min=_LEAST)
        scale: Tensor = Relative.apply(relative, unit, 1.0 / unit)  # type: ignore[no-untyped-call]
        for other, factor in self.floors:
            scale = torch.maximum(scale, other.scale.detach() * factor)
        return scale

    @property
    def zero_point(self) -> Tensor:
        """Integers, of the scale's shape."""
        if self.offset is None:
            return self.first_zero_point
        levels = torch.full_like(self.first_zero_point, self._high - self._low)
        factor = 1.0 / (levels * self.first_scale.square())
        moved: Tensor = Relative.apply(self.offset, levels, factor)  # type: ignore[no-untyped-call]
        found: Tensor = Rounded.apply(self.first_zero_point + moved)  # type: ignore[no-untyped-call]
        return found.clamp(self._low, self._high)

    def forward(self, x: Tensor) -> Tensor:
        """Values of the grid, in the type of x; computed in float32 at least."""
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self._on_grid(x)
        return self._on_grid(x)

    def _on_grid(self, x: Tensor) -> Tensor:
        given = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        self._follow(given)
        if self._float8 is not None:
            return self._on_float8(given).to(x.dtype)
        if self.levels is not None:
            return self._on_levels(given, self.levels).to(x.dtype)
        zero = spread(self.zero_point, self.params, given) if self._shifts else None
        grid = (spread(self.scale, self.params, given), zero, self._low, self._high)
        found: Tensor = OnLearnedGrid.apply(given, *grid, self._factor(given))  # type: ignore[no-untyped-call]
        return found.to(x.dtype)

    def _on_levels(self, x: Tensor, levels: Tensor) -> Tensor:
        """A centroid's gradient is the sum over its members, of which there are N / K."""
        share = max(1.0, x.numel() / levels.numel())
        unit, factor = torch.ones((), device=x.device), torch.tensor(1.0 / math.sqrt(share))
        moved: Tensor = Relative.apply(levels, unit, factor)  # type: ignore[no-untyped-call]
        scale = spread(self.scale.detach(), self.params, x)
        return on_levels(x, moved.sort(dim=-1).values, scale, self.params)

    def present(self) -> QParams:
        """Scale and zero point as they are now, as lowering takes them."""
        with torch.no_grad():
            scale = self.scale.detach().cpu().float().numpy()
            zero = self.zero_point.detach().cpu().double().numpy()
        shape = self.params.scale.shape
        return QParams(
            np.array(scale, np.float32).reshape(shape),
            np.array(np.rint(zero), np.int64).reshape(shape),
            self.params.space,
            self.params.axis,
            None if self.levels is None else self._sorted(self.levels),
        )

    @staticmethod
    def _sorted(levels: Tensor) -> npt.NDArray[np.float32]:
        return np.sort(levels.detach().cpu().float().numpy(), axis=-1)

    def freeze(self, frozen: bool = True) -> None:
        """Keeps step and offset as they are, or lets them go again."""
        self.frozen = frozen
        trained = self.learned and not self.fixed and not frozen
        for each in (self.step, self.offset):
            if each is not None:
                each.requires_grad_(trained)
        if self.levels is not None:
            self.levels.requires_grad_(self._trains_levels)

    def _factor(self, x: Tensor) -> float:
        """1/sqrt(N * Qp), N the elements of one sample that a step serves."""
        shares = self.step.numel() if self._shape else x.shape[0] if x.dim() else 1
        count = x.numel() / max(1, shares)
        return 1.0 / math.sqrt(max(1.0, count * max(1.0, self._high)))

    def _follow(self, x: Tensor) -> None:
        """Moves the grid after the data, where it is not learned."""
        if self.learned or self.fixed or self.frozen or not self.training:
            return
        with torch.no_grad():
            if self._shape:
                self._to_extremes(x)
                return
            low, high = torch.aminmax(x.detach())
            now = torch.stack([low, high]).to(self.seen)
            self.seen.lerp_(now, _FOLLOWED)
            self._to_range(self.seen[0].clamp(max=0.0), self.seen[1].clamp(min=0.0))

    def _to_range(self, low: Tensor, high: Tensor) -> None:
        if self.moves:
            scale = (high - low) / (self._high - self._low)
            zero = (self._low - low / scale).round() - self.first_zero_point
            assert self.offset is not None
            self.offset.copy_(zero / (self._high - self._low))
        else:
            below = self.first_zero_point - self._low
            above = self._high - self.first_zero_point
            scale = torch.maximum(-low / below.clamp(min=1e-9), high / above.clamp(min=1e-9))
            scale = torch.where(below == 0, high / above.clamp(min=1e-9), scale)
            scale = torch.where(above == 0, -low / below.clamp(min=1e-9), scale)
        self.step.copy_((scale / self.first_scale).clamp(min=_LEAST))

    def _to_extremes(self, weight: Tensor) -> None:
        """A weight's step from its present largest magnitude, shared as the step is."""
        ratio = weight.detach().abs() / spread(self.first_scale, self.params, weight)
        self.step.copy_((_largest(ratio, self) / max(1.0, self._high)).clamp(min=_LEAST))

    def _on_float8(self, x: Tensor) -> Tensor:
        """Float8 levels under the first scale, straight through where nothing saturates."""
        scale = spread(self.scale, self.params, x)
        assert self._float8 is not None
        kept = (x / scale).clamp(self._low, self._high)
        rounded = kept.to(self._float8).to(x.dtype)
        return (kept + (rounded - kept).detach()) * scale


def _largest(values: Tensor, quantizer: Quantizer) -> Tensor:
    """The largest value of everything that shares a step."""
    return reduced(values, quantizer.step.shape, quantizer._axis, quantizer._space.group_size)


def reduced(values: Tensor, shape: torch.Size, axis: int | None, group: int | None) -> Tensor:
    """Maxima in the shape of scales: (), [C] or the group shape."""
    if axis is None or len(shape) == 0:
        return values.amax().reshape(shape)
    axis %= values.dim()
    if group is None:
        others = [each for each in range(values.dim()) if each != axis]
        return values.amax(others) if others else values
    parts = torch.split(values, group, axis)
    return torch.stack([part.amax(axis) for part in parts], axis)
