"""`SoftRounding`: a weight between its two nearest integers, and `DroppedQuantize`.

AdaRound (Nagel et al. 2020, arXiv 2004.10568, equations 22-24): w = s * (clip(floor(w / s) + h(v)
+ z) - z) with h(v) = clip(1.2 * sigmoid(v) - 0.1, 0, 1), which a regulariser drives to 0 or 1.
QDrop (Wei et al. 2022, arXiv 2203.05740): while weights are fitted, each element of a quantized
activation is left in float at random.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from qcompiler.lowering.torch_fx.constants import Array
from qcompiler.lowering.torch_fx.fake_quantize import FakeQuantize
from qcompiler.quantization.numerics import expand
from qcompiler.quantization.qspace import QParams

_ZETA, _GAMMA = 1.1, -0.1
"""The stretch of the sigmoid (Louizos et al. 2018, as in AdaRound): 0 and 1 are reached."""
_STARTED = 0.2
"""How far from an integer a weight starts that a pass before has put there."""


class SoftRounding(nn.Module):
    """The weight as a function of `logits`, which is all that is trained.

    Each weight chooses between two integers: those around it, or the one that it has and the next
    one on its side of it, where another pass chose one further off.

    Args:
        exact: float32 weight.
        params: Integer space, scale and zero point; they stay.
        integers: Where a pass before has chosen them: where the training starts.
    """

    scale: Tensor
    zero: Tensor
    floor: Tensor

    def __init__(self, exact: Array, params: QParams, integers: Array | None = None) -> None:
        super().__init__()
        scale = np.broadcast_to(expand(params.scale, exact.shape, params), exact.shape)
        zero = np.broadcast_to(expand(params.zero_point, exact.shape, params), exact.shape)
        steps = np.asarray(exact, np.float32) / scale
        floor = np.floor(steps)
        share = steps - floor
        if integers is not None:
            chosen = integers.astype(np.int64) - zero
            floor = np.where(chosen <= steps, chosen, chosen - 1).astype(np.float32)
            share = np.where(chosen == floor, _STARTED, 1 - _STARTED)
        share = np.clip((share - _GAMMA) / (_ZETA - _GAMMA), 1e-4, 1 - 1e-4)
        self.low, self.high = float(params.space.qmin), float(params.space.qmax)
        self.register_buffer("scale", torch.from_numpy(np.array(scale, np.float32)))
        self.register_buffer("zero", torch.from_numpy(np.array(zero, np.float32)))
        self.register_buffer("floor", torch.from_numpy(np.array(floor, np.float32)))
        self.logits = nn.Parameter(torch.from_numpy(np.log(share / (1 - share)).astype(np.float32)))
        self.hard = False

    def shares(self) -> Tensor:
        """h: how far each weight is from its lower to its upper integer, 0 to 1."""
        return (torch.sigmoid(self.logits) * (_ZETA - _GAMMA) + _GAMMA).clamp(0, 1)

    def forward(self) -> Tensor:
        """float32 weight; of integers alone if `hard`."""
        shares = self.shares()
        shares = (shares >= 0.5).to(shares.dtype) if self.hard else shares
        steps = (self.floor + shares + self.zero).clamp(self.low, self.high)
        return (steps - self.zero) * self.scale

    def undecided(self, sharpness: float) -> Tensor:
        """Mean of 1 - |2h - 1|^sharpness: 0 where every weight is an integer (equation 24)."""
        return (1 - (2 * self.shares() - 1).abs().clamp(min=1e-6).pow(sharpness)).mean()

    def integers(self) -> Array:
        """int64, the integers of the sign of each decision."""
        with torch.no_grad():
            steps = self.floor + (self.shares() >= 0.5) + self.zero
            found: Array = steps.clamp(self.low, self.high).numpy().astype(np.int64)
        return found


class Dropping:
    """How much of the activations stays float, and the source of chance.

    Attributes:
        share: Probability that an element is left in float; 0 quantizes all.
        generator: Seeded.
    """

    def __init__(self, seed: int) -> None:
        self.share = 0.0
        self.generator = torch.Generator().manual_seed(seed)

    def mixed(self, plain: Tensor, quantized: Tensor) -> Tensor:
        """Each element of one or the other."""
        if self.share <= 0:
            return quantized
        chance = torch.rand(plain.shape, generator=self.generator)
        return torch.where(chance < self.share, plain, quantized)


class DroppedQuantize(FakeQuantize):
    """The grid of an activation, where elements are left in float as `dropping` says."""

    def __init__(self, params: QParams, dropping: Dropping) -> None:
        super().__init__(params)
        self._dropping = dropping

    def forward(self, x: Tensor) -> Tensor:
        return self._dropping.mixed(x, super().forward(x))
