"""The vocabulary of quantized values: `QSpace` (which integers), `Range`, `QParams` (steps)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.errors import ConfigurationError

FloatArray = npt.NDArray[np.float32]
_INTEGERS: dict[ir.DataType, tuple[int, int]] = {
    ir.DataType.INT2: (-2, 1),
    ir.DataType.UINT2: (0, 3),
    ir.DataType.INT4: (-8, 7),
    ir.DataType.UINT4: (0, 15),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT16: (-32768, 32767),
    ir.DataType.UINT16: (0, 65535),
    ir.DataType.INT32: (-(2**31), 2**31 - 1),
}
_FLOATS: dict[ir.DataType, tuple[int, str]] = {
    ir.DataType.FLOAT8E4M3FN: (448, "f8e4m3"),
    ir.DataType.FLOAT8E5M2: (57344, "f8e5m2"),
}
"""Largest finite number and short name (Micikevicius et al. 2022, FP8 Formats, table 1)."""


_FEW_BITS = 4


class Granularity(Enum):
    """Over what a scale is shared."""

    TENSOR = "tensor"
    CHANNEL = "channel"
    GROUP = "group"


class Levels(Enum):
    """Which real numbers the integers stand for, up to a scale."""

    EVEN = "even"
    """Multiples of the scale."""
    LOG2 = "log2"
    """0 and powers of two."""
    LOG2_SUMS = "log2x2"
    """0 and sums of at most two powers of two."""
    CODEBOOK = "codebook"
    """Any: integers are indices into a table that is found by k-means."""


@dataclass(frozen=True)
class QSpace:
    """A set of quantized values a target understands.

    Attributes:
        dtype: Storage type: INT2…INT32, UINT2…UINT16, FLOAT8E4M3FN or FLOAT8E5M2.
        symmetric: Zero point fixed to 0 (the middle of the range for unsigned types).
        granularity: Over what a scale is shared.
        group_size: Elements that share a scale along the reduction axis (GROUP only).
        narrow: Leave out the lowest signed value ([-127, 127]), so that w and -w both exist.
        bits: Levels actually used, when fewer than the storage type has (7 for `reduce_range`).
        levels: What the integers stand for. Where they are not evenly spaced, integers are indices
            into a table: UINT8 or UINT16 with `bits` of them used, symmetric. `group_size` is then
            the number of channels that share a table.

    Raises:
        ConfigurationError: Contradictory fields.
    """

    dtype: ir.DataType
    symmetric: bool
    granularity: Granularity = Granularity.TENSOR
    group_size: int | None = None
    narrow: bool = False
    bits: int | None = None
    levels: Levels = Levels.EVEN

    def __post_init__(self) -> None:
        if self.dtype not in _INTEGERS and self.dtype not in _FLOATS:
            raise ConfigurationError(f"{self.dtype.name} is not a quantized type")
        if (self.granularity is Granularity.GROUP) != (self.group_size is not None):
            raise ConfigurationError("group_size goes with granularity GROUP, and only with it")
        if self.group_size is not None and self.group_size < 1:
            raise ConfigurationError(f"group_size {self.group_size} is not positive")
        if self.is_float and not self.symmetric:
            raise ConfigurationError("a float8 space is symmetric")
        if self.bits is not None and not 1 < self.bits <= self.storage_bits:
            raise ConfigurationError(f"{self.bits} bits do not fit {self.dtype.name}")
        if self.is_table and (self.signed or not self.symmetric):
            raise ConfigurationError("indices into a table are unsigned and have no zero point")

    @property
    def is_table(self) -> bool:
        """Whether integers are indices into a table of levels."""
        return self.levels is not Levels.EVEN

    @property
    def used_bits(self) -> int:
        """Bits that tell the levels apart."""
        return self.storage_bits if self.bits is None else self.bits

    @property
    def packed_bits(self) -> int:
        """Bits of one element as it is stored; indices into a table are packed to the last bit."""
        return self.used_bits if self.is_table else self.storage_bits

    @cached_property
    def is_float(self) -> bool:
        """Whether the levels are floating-point numbers (fp8)."""
        return self.dtype in _FLOATS

    @property
    def signed(self) -> bool:
        return self.is_float or _INTEGERS[self.dtype][0] < 0

    @property
    def storage_bits(self) -> int:
        """Bits of one stored element."""
        return int(self.dtype.bitwidth)

    @cached_property
    def qmin(self) -> int:
        """Lowest quantized value (float8: the lowest representable value, rounded to int)."""
        if self.is_float:
            return -_FLOATS[self.dtype][0]
        low = _INTEGERS[self.dtype][0]
        if self.bits is not None and low < 0:
            low = -(2 ** (self.bits - 1))
        return low + (1 if self.narrow and low < 0 else 0)

    @cached_property
    def qmax(self) -> int:
        """Highest quantized value."""
        if self.is_float:
            return _FLOATS[self.dtype][0]
        if self.bits is None:
            return _INTEGERS[self.dtype][1]
        return int(2 ** (self.bits - (1 if self.signed else 0))) - 1

    @property
    def numbers(self) -> str:
        """Kind of numbers, whatever their sign and zero: `int8`, `float8e5m2`, `codebook4`.

        Few bits are a kind of their own wherever they are stored (`int3`, `ternary`); 7 bits in 8,
        which keep a kernel's sums in range, are not.
        """
        if self.is_table:
            return f"{self.levels.value}-{self.used_bits}".replace("codebook-", "codebook")
        if self.is_float:
            return self.dtype.name.lower()
        if self.used_bits > _FEW_BITS:
            return f"int{self.storage_bits}"
        return "ternary" if self.qmax - self.qmin == 2 else f"int{self.used_bits}"

    @property
    def name(self) -> str:
        """Short name such as `u8_affine`, `s8_symmetric_per_channel`, `s4_symmetric_group32`."""
        integer = f"{'s' if self.signed else 'u'}{self.storage_bits}"
        kind = _FLOATS[self.dtype][1] if self.is_float else integer
        parts = [kind, "symmetric" if self.symmetric else "affine"]
        if self.is_table:
            parts = [self.numbers]
        if self.granularity is Granularity.CHANNEL:
            parts.append("per_channel")
        if self.group_size is not None:
            parts.append(f"group{self.group_size}")
        if self.bits is not None and self.bits != self.storage_bits and not self.is_table:
            parts.append(f"{self.bits}bit")
        return "_".join(parts)

    def with_granularity(self, granularity: Granularity, group_size: int | None = None) -> QSpace:
        """The same levels, shared over something else."""
        return replace(self, granularity=granularity, group_size=group_size)


U8_AFFINE = QSpace(ir.DataType.UINT8, symmetric=False)
U16_AFFINE = QSpace(ir.DataType.UINT16, symmetric=False)
S8_AFFINE = QSpace(ir.DataType.INT8, symmetric=False)
S8_SYMMETRIC = QSpace(ir.DataType.INT8, symmetric=True, narrow=True)
S8_SYMMETRIC_PER_CHANNEL = S8_SYMMETRIC.with_granularity(Granularity.CHANNEL)
F8_E4M3 = QSpace(ir.DataType.FLOAT8E4M3FN, symmetric=True)
F8_E5M2 = QSpace(ir.DataType.FLOAT8E5M2, symmetric=True)
S32_BIAS = QSpace(ir.DataType.INT32, symmetric=True)


@dataclass(frozen=True)
class Range:
    """A closed interval of observed real values; `choose_qparams` widens it to hold 0.

    Raises:
        ConfigurationError: Not finite, or low > high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high)) or self.low > self.high:
            raise ConfigurationError(f"[{self.low}, {self.high}] is not a range of finite values")

    def union(self, other: Range) -> Range:
        """The smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    def with_zero(self) -> Range:
        """The range widened so that 0 is in it."""
        return Range(min(self.low, 0.0), max(self.high, 0.0))


def _are_steps(scale: FloatArray) -> bool:
    """Whether all are finite and positive; one number is what graphs have thousands of."""
    if scale.ndim == 0:
        return 0.0 < float(scale) < math.inf
    return bool(np.isfinite(scale).all() and (scale > 0).all())


@dataclass(frozen=True, eq=False)
class QParams:
    """Scale and zero point: real = scale * (quantized - zero_point).

    With a table of levels: real = scale * levels[quantized].

    Attributes:
        scale: float32; shape () per tensor, (C,) per channel, group shape for groups.
        zero_point: Same shape as `scale`, int64 values within the space.
        space: The quantized values meant.
        axis: Channel or blocked axis; None per tensor.
        levels: float32 [K] ascending, or [tables, K], the first for the first channels of `axis`;
            None where levels are even.
    """

    scale: FloatArray
    zero_point: npt.NDArray[np.int64]
    space: QSpace
    axis: int | None = None
    levels: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.scale.shape != self.zero_point.shape:
            raise ConfigurationError(
                f"scale {self.scale.shape} and zero point {self.zero_point.shape} differ in shape"
            )
        if not _are_steps(self.scale):
            raise ConfigurationError("scales must be finite and positive")
        if self.space.is_table != (self.levels is not None):
            raise ConfigurationError("levels go with a space of levels, and only with it")

    @property
    def representable(self) -> Range:
        """The real interval that does not saturate (per-tensor parameters only)."""
        scale, zero = float(self.scale), int(self.zero_point)
        return Range(scale * (self.space.qmin - zero), scale * (self.space.qmax - zero))

    def same_as(self, other: QParams) -> bool:
        """Bit-equal parameters over the same space."""
        return (
            self.space == other.space
            and self.axis == other.axis
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
            and _same_levels(self.levels, other.levels)
        )


def _same_levels(one: FloatArray | None, other: FloatArray | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)
