"""How an engine's integers may differ from ONNX Runtime's: other rounding rules, and tolerances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError

Array = npt.NDArray[Any]


DynamicRange = Callable[[Array], tuple[np.float32, int]]
"""A whole float operand to the scale and zero point it gets as uint8 at run time."""


def onnx_range(x: Array) -> tuple[np.float32, int]:
    """ONNX DynamicQuantizeLinear: the range with 0 in it, 255 steps, in float32."""
    low = np.minimum(np.float32(x.min(initial=0.0)), np.float32(0))
    high = np.maximum(np.float32(x.max(initial=0.0)), np.float32(0))
    scale = np.float32(1.0) if low == high else np.float32((high - low) / np.float32(255))
    return scale, int(np.clip(np.rint(-low / scale), 0, 255))


@dataclass(frozen=True)
class Tolerance:
    """What the integers of one op may differ by.

    Attributes:
        steps: Most steps of the output that any element may be off.
        share: Largest share of the elements that may be off at all.
        ties: Whether results halfway between two steps may be rounded either way; they are not
            counted as off then.
    """

    steps: int = 0
    share: float = 1.0
    ties: bool = False

    def __post_init__(self) -> None:
        if self.steps < 0 or not 0 <= self.share <= 1:
            raise ConfigurationError(f"no tolerance: {self.steps} steps, share {self.share}")

    def allows(self, lsb: Mapping[int, int]) -> bool:
        """Whether a histogram (elements by steps) is within it.

        A share p of n elements may be exceeded by chance: 4 standard deviations of Binomial(n, p)
        and one element are added.
        """
        elements = sum(lsb.values())
        off = elements - lsb.get(0, 0)
        expected = self.share * elements
        allowed = expected + 4 * float(np.sqrt(expected)) + 1
        return max(lsb, default=0) <= self.steps and (self.share == 1 or off <= allowed)


@dataclass(frozen=True)
class Arithmetic:
    """Rules of one engine.

    Attributes:
        kernels: Integer reference by op where the engine follows another rule than ONNX Runtime;
            called like the entries of `execution.integer.reference.KERNELS`.
        clips: Whether a Clip behind a kernel is cut on the integers.
        tolerances: By op, where they differ from the target's `tolerance_lsb`.
        dynamic: How operands that are quantized at run time get their scale and zero point.
    """

    kernels: Mapping[str, Callable[..., Array]] = field(default_factory=dict)
    clips: bool = False
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    dynamic: DynamicRange = onnx_range
