"""Quantized tensors of any kind, and the kinds whose levels are not evenly spaced.

`quantize(array, space)` is uniform (`numerics`); `"log2"` has powers of two as levels, `"codebook"`
levels found by k-means. No runtime here has kernels for the last two; they are storage forms,
whose values a target bakes back as float or looks up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError
from qcompiler.quantization import numerics
from qcompiler.quantization.qspace import FloatArray, QParams, QSpace

Array = npt.NDArray[Any]
Kind = Literal["log2", "codebook"]
_ITERATIONS = 100


@dataclass(frozen=True, eq=False)
class QTensor:
    """A quantized constant: integers, and either uniform parameters or levels to look up.

    Attributes:
        data: Integers of the space's type (uniform), or uint8 / uint16 indices into `levels`.
        params: Scale and zero point of a uniform tensor.
        levels: float32 [K] per tensor or [C, K] per channel, ascending.
        axis: Channel axis of `levels`; None per tensor.

    Raises:
        ConfigurationError: Both or neither of `params` and `levels`.
    """

    data: Array
    params: QParams | None = None
    levels: FloatArray | None = None
    axis: int | None = None

    def __post_init__(self) -> None:
        if (self.params is None) == (self.levels is None):
            raise ConfigurationError("a QTensor has either params or levels")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def bits(self) -> int:
        """Bits that one stored element needs."""
        if self.params is not None:
            return self.params.space.storage_bits
        assert self.levels is not None
        return max(1, int(self.levels.shape[-1] - 1).bit_length())

    def dequantize(self) -> FloatArray:
        """The float32 values meant."""
        if self.params is not None:
            return numerics.dequantize(self.data, self.params)
        assert self.levels is not None
        if self.axis is None:
            return np.asarray(self.levels[self.data])
        rows = np.moveaxis(self.data, self.axis, 0)
        flat = rows.reshape(rows.shape[0], -1).astype(np.int64)
        found = np.take_along_axis(self.levels, flat, axis=1).reshape(rows.shape)
        return np.ascontiguousarray(np.moveaxis(found, 0, self.axis))


def quantize(
    array: Array,
    kind: QSpace | Kind,
    *,
    axis: int | None = None,
    bits: int = 4,
    params: QParams | None = None,
) -> QTensor:
    """Quantizes a constant.

    Args:
        array: Float values, any shape.
        kind: A uniform space, `"log2"` or `"codebook"`.
        axis: Channel or blocked axis; for the last two, levels are then found per channel.
        bits: Size of the level table of the last two, at most 2**bits levels; 2 to 16.
        params: Uniform parameters to use; by default from the array's own extremes.

    Raises:
        ConfigurationError: Values that are not finite, an unknown kind, bits or axis out of range.
    """
    values = np.asarray(array, np.float32)
    if not np.all(np.isfinite(values)):
        raise ConfigurationError("NaN or infinity cannot be quantized")
    if isinstance(kind, QSpace):
        chosen = numerics.weight_qparams(values, kind, axis) if params is None else params
        return QTensor(numerics.quantize(values, chosen), chosen)
    if kind not in ("log2", "codebook"):
        raise ConfigurationError(f"no quantizer {kind!r}", fix="use a QSpace, 'log2' or 'codebook'")
    if not 2 <= bits <= 16:
        raise ConfigurationError(f"{bits} bits: a level table has 2 to 16")
    find = log2_levels if kind == "log2" else codebook_levels
    if axis is None:
        levels = find(values, bits)
        return QTensor(nearest(values, levels), levels=levels)
    if not -values.ndim <= axis < values.ndim:
        raise ConfigurationError(f"no axis {axis} in an array {values.shape}")
    rows = np.moveaxis(values, axis, 0)
    levels = np.stack([find(row, bits) for row in rows])
    data = np.stack([nearest(row, own) for row, own in zip(rows, levels, strict=True)])
    data = np.ascontiguousarray(np.moveaxis(data, 0, axis))
    return QTensor(data, levels=levels, axis=axis % values.ndim)


def log2_levels(values: FloatArray, bits: int) -> FloatArray:
    """0 and +-2**k for 2**(bits - 1) - 1 consecutive k, [2**bits - 1], ascending.

    The largest k is floor(log2(4 / 3 * max|x|)), so the largest value rounds to it (Zhou et al.
    2017, "Incremental network quantization", equation 3).
    """
    peak = max(float(np.max(np.abs(values), initial=0.0)), numerics.SCALE_FLOOR)
    top = int(np.floor(np.log2(4.0 / 3.0 * peak)))
    # Below float32's smallest denormal a level would be another zero.
    exponents = np.maximum(top - np.arange(2 ** (bits - 1) - 1), -149)
    powers = np.exp2(exponents.astype(np.float64))
    return np.concatenate([-powers, [0.0], powers[::-1]]).astype(np.float32)


def codebook_levels(values: FloatArray, bits: int) -> FloatArray:
    """Levels of least squared error by Lloyd's k-means in one dimension, [2**bits], ascending.

    Deterministic: it starts from evenly spaced quantiles and stops when the levels stay (or after
    100 rounds). On sorted values a cluster is a slice, so a round costs K binary searches.
    """
    ordered = np.sort(values.ravel().astype(np.float64))
    if ordered.size == 0:
        return np.zeros(2**bits, np.float32)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    levels = np.quantile(ordered, (np.arange(2**bits) + 0.5) / 2**bits)
    for _ in range(_ITERATIONS):
        cuts = np.searchsorted(ordered, (levels[:-1] + levels[1:]) / 2.0)
        ends = np.concatenate([[0], cuts, [ordered.size]])
        sizes = np.diff(ends)
        means = np.where(sizes > 0, np.diff(sums[ends]) / np.maximum(sizes, 1), levels)
        if np.array_equal(means, levels):
            break
        levels = np.sort(means)
    return np.asarray(levels, np.float32)


def nearest(values: FloatArray, levels: FloatArray) -> Array:
    """Index of the nearest of the ascending levels; on a tie the lower one. uint8 or uint16."""
    middles = (levels[:-1].astype(np.float64) + levels[1:]) / 2.0
    index = np.searchsorted(middles, values, side="left")
    return index.astype(np.uint8 if levels.size <= 256 else np.uint16)
