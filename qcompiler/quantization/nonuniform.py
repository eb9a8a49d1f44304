"""Levels that are not evenly spaced: sums of powers of two, and codebooks found by k-means.

A quantized value is an index into a table: real = scale * levels[index]. Tables of powers of two
are the same for every channel, whose scale is a power of two itself; codebooks are found per
tensor, per channel or per group of channels. No runtime here has kernels for them: they are forms
of storage, of which floats are made before anything is computed.
"""

from __future__ import annotations

from itertools import combinations
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError
from qcompiler.quantization.qspace import FloatArray, Granularity, Levels, QParams, QSpace

Indices = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
T = TypeVar("T", bound=np.generic)
_ITERATIONS = 100
_SMALLEST = -126
"""Exponent of the smallest normal float32."""
_MANTISSA = 24
"""Binary digits of a float32."""
_HEADROOM = {Levels.LOG2: 4.0 / 3.0, Levels.LOG2_SUMS: 8.0 / 7.0}
"""The largest weight times this, rounded down to a power of two, is the scale.

The levels at the top are 1 and 2 of the next scale with one term: what is at 1.5 or more takes the
next (Zhou et al. 2017, "Incremental network quantization", equation 3). With two terms they are
1.5 and 2, and the border is 1.75.
"""


def table_params(
    values: FloatArray, space: QSpace, axis: int | None, importance: FloatArray | None = None
) -> QParams:
    """Tables and scales of a constant.

    Args:
        values: float32 weights of any shape, finite.
        space: A space of levels; `group_size` channels of `axis` share a codebook.
        axis: Channel axis; ignored per tensor.
        importance: Weights of the squared errors that a codebook keeps small, in a shape that
            broadcasts to that of `values`; all alike by default. Powers of two take no notice.

    Raises:
        ConfigurationError: No axis where one is needed.
    """
    if space.granularity is not Granularity.TENSOR and (
        axis is None or not -values.ndim <= axis < values.ndim
    ):
        raise ConfigurationError(f"no axis {axis} in weights {values.shape} for {space.name}")
    along = None if space.granularity is Granularity.TENSOR or axis is None else axis % values.ndim
    if space.levels is Levels.CODEBOOK:
        return _codebooks(values, space, along, importance)
    rows = values.reshape(1, -1) if along is None else _rows(values, along)
    peaks = np.max(np.abs(rows), axis=1, initial=0.0).astype(np.float64)
    floor = 2.0**_SMALLEST
    tops = np.floor(np.log2(np.maximum(_HEADROOM[space.levels] * peaks, floor)))
    scale = np.exp2(np.clip(tops, _SMALLEST, 126)).astype(np.float32)
    scale = scale.reshape(()) if along is None else scale
    terms = 2 if space.levels is Levels.LOG2_SUMS else 1
    return _params(scale, space, along, log2_levels(space.used_bits, terms))


def _codebooks(
    values: FloatArray, space: QSpace, axis: int | None, importance: FloatArray | None
) -> QParams:
    scale = np.ones((), np.float32)
    wide = None if importance is None else np.broadcast_to(importance, values.shape)
    if axis is None:
        found = codebook_levels(values, space.used_bits, wide)
        return _params(scale, space, None, found)
    rows, per = _rows(values, axis), space.group_size or 1
    heavy = np.ones_like(rows) if wide is None else _rows(wide, axis)
    parts = [slice(at, at + per) for at in range(0, len(rows), per)]
    tables = [codebook_levels(rows[each], space.used_bits, heavy[each]) for each in parts]
    return _params(scale, space, axis, np.stack(tables))


def _params(scale: FloatArray, space: QSpace, axis: int | None, levels: FloatArray) -> QParams:
    return QParams(scale, np.zeros(scale.shape, np.int64), space, axis, levels)


def indices(steps: FloatArray, params: QParams) -> Indices:
    """The nearest level of every value that is divided by its scale already."""
    assert params.levels is not None
    kind = params.space.dtype.numpy()
    if params.levels.ndim == 1:
        return nearest(steps, params.levels).astype(kind)
    axis, per = _axis(params, steps.ndim), params.space.group_size or 1
    rows = _rows(steps, axis)
    found = np.empty(rows.shape, kind)
    for number, table in enumerate(params.levels):
        found[number * per : (number + 1) * per] = nearest(
            rows[number * per : (number + 1) * per], table
        )
    return np.asarray(_back(found, steps.shape, axis), kind)


def looked_up(data: Indices, params: QParams) -> FloatArray:
    """float32 levels that indices stand for, before they are scaled."""
    assert params.levels is not None
    whole = data.astype(np.int64)
    if params.levels.ndim == 1:
        return np.asarray(params.levels[whole], np.float32)
    axis, per = _axis(params, data.ndim), params.space.group_size or 1
    rows = _rows(whole, axis)
    table = np.arange(len(rows)) // per
    return np.asarray(_back(params.levels[table[:, None], rows], data.shape, axis), np.float32)


def log2_levels(bits: int, terms: int = 1) -> FloatArray:
    """0 and plus or minus what at most `terms` consecutive powers of two add up to, ascending.

    With one term: +-2**-k for k = 0 .. 2**(bits - 1) - 2. With two: what has at most two ones in
    binary, two shifts and an addition in hardware (the additive powers of two of Li et al. 2020,
    arXiv 1909.13144, with one set of exponents for both terms), with the most exponents of
    which all sums below 2 fit the bits.

    Args:
        bits: At most 2**bits - 1 levels; 2 to 16.
        terms: 1 or 2.

    Returns:
        float32 [at most 2**bits - 1]; the largest is 1 or, with two terms, 1.5.
    """
    most = 2 ** (bits - 1) - 1
    # Further down are denormals, and sums that float32 does not tell apart.
    if terms == 1:
        count = min(most, 1 - _SMALLEST)
    else:
        count = max(n for n in range(1, _MANTISSA + 1) if n * (n + 1) // 2 <= most)
    powers = np.exp2(-np.arange(count, dtype=np.float64))
    sums = [] if terms == 1 else [one + other for one, other in combinations(powers, 2)]
    size = np.unique([*powers, *sums])
    return np.concatenate([-size[::-1], [0.0], size]).astype(np.float32)


def codebook_levels(
    values: FloatArray, bits: int, importance: FloatArray | None = None
) -> FloatArray:
    """Levels of least squared error by Lloyd's k-means in one dimension, [2**bits], ascending.

    Deterministic: it starts from evenly spaced quantiles and stops when the levels stay (or after
    100 rounds). On sorted values a cluster is a slice, so a round costs K binary searches.

    Args:
        values: float32, any shape.
        bits: 2**bits levels.
        importance: Weight of every squared error, not negative, in the shape of `values`.
    """
    flat = values.ravel().astype(np.float64)
    if flat.size == 0:
        return np.zeros(2**bits, np.float32)
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    heavy = np.ones(flat.size) if importance is None else importance.ravel()[order].astype(float)
    heavy = heavy if heavy.any() else np.ones(flat.size)
    sums = np.concatenate([[0.0], np.cumsum(ordered * heavy)])
    weights = np.concatenate([[0.0], np.cumsum(heavy)])
    levels = np.quantile(ordered, (np.arange(2**bits) + 0.5) / 2**bits)
    for _ in range(_ITERATIONS):
        cuts = np.searchsorted(ordered, (levels[:-1] + levels[1:]) / 2.0)
        ends = np.concatenate([[0], cuts, [ordered.size]])
        sizes = np.diff(weights[ends])
        filled = sizes > 0
        means = np.where(filled, np.diff(sums[ends]) / np.where(filled, sizes, 1.0), levels)
        if np.array_equal(means, levels):
            break
        levels = np.sort(means)
    return np.asarray(levels, np.float32)


def nearest(values: FloatArray, levels: FloatArray) -> npt.NDArray[np.int64]:
    """Index of the nearest of the ascending levels; on a tie the lower one."""
    middles = (levels[:-1].astype(np.float64) + levels[1:]) / 2.0
    return np.searchsorted(middles, values, side="left")


def _axis(params: QParams, rank: int) -> int:
    if params.axis is None or not -rank <= params.axis < rank:
        raise ConfigurationError(f"tables per channel fit no axis {params.axis} of {rank}")
    return params.axis % rank


def _rows(values: npt.NDArray[T], axis: int) -> npt.NDArray[T]:
    """[channels, the rest]."""
    moved = np.moveaxis(values, axis, 0)
    return moved.reshape(moved.shape[0], -1)


def _back(rows: npt.NDArray[T], shape: tuple[int, ...], axis: int) -> npt.NDArray[T]:
    moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
    return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, axis))
