"""`tf.quantization.quantize` and `dequantize` without TensorFlow: its modes, with its integers.

The arithmetic is that of its CPU kernels (core/kernels/quantize_op.cc, dequantize_op.cc and
quantization_utils.h of TensorFlow 2), all in float32: the range is widened to hold 0 and to be at
least `ensure_minimum_range` of its larger end, then

- MIN_COMBINED: round((x - min) * steps / (max - min) - half), half of the range for signed types;
- MIN_FIRST: round(x * s) - round(min * s) + lowest, s = steps / (max - min);
- SCALED: round(x * s), s the smaller of lowest / min and highest / max; zero stays zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.qtensor.containers import Container, received

Array = npt.NDArray[Any]
_TYPES: dict[str, Any] = {
    "qint8": np.int8,
    "quint8": np.uint8,
    "qint16": np.int16,
    "quint16": np.uint16,
    "qint32": np.int32,
}
_MODES = ("MIN_COMBINED", "MIN_FIRST", "SCALED")
_ROUNDING = ("HALF_AWAY_FROM_ZERO", "HALF_TO_EVEN")
_ONE = np.float32(1.0)


class TFQuantized(NamedTuple):
    """What `tf.quantization.quantize` returns.

    Attributes:
        output: Integers, in the shape of the input and of its kind.
        output_min: The range that was used: a number, or one per slice.
        output_max: Its upper end.
    """

    output: Any
    output_min: Any
    output_max: Any


@dataclass(frozen=True)
class _Type:
    """A storage type: its limits as Python integers."""

    name: str
    low: int
    high: int
    numpy: Any

    @classmethod
    def of(cls, given: object) -> _Type:
        name = getattr(given, "name", given)  # a tf.DType has a name
        plain = str(name).removeprefix("tf.")
        if plain not in _TYPES:
            raise _unknown("type", name, tuple(_TYPES))
        kind = _TYPES[plain]
        return cls(plain, int(np.iinfo(kind).min), int(np.iinfo(kind).max), kind)

    @property
    def half(self) -> np.float32:
        """Half of the number of values where they are signed."""
        return np.float32(0 if self.low == 0 else (self.high - self.low + 1) / 2)


def tf_quantize(
    input: Any,  # noqa: A002 - TensorFlow's names
    min_range: Any,
    max_range: Any,
    T: Any,  # noqa: N803
    mode: str = "MIN_COMBINED",
    round_mode: str = "HALF_AWAY_FROM_ZERO",
    name: str | None = None,
    narrow_range: bool = False,
    axis: int | None = None,
    ensure_minimum_range: float = 0.01,
) -> TFQuantized:
    """Quantizes as `tf.quantization.quantize` of TensorFlow 2 does, integer by integer.

    Args:
        input: Float values: numbers, lists, numpy or torch.
        min_range: Lower end of the range; with `axis` one per slice.
        max_range: Upper end.
        T: `qint8`, `quint8`, `qint16`, `quint16` or `qint32`, or a `tf.DType`.
        mode: `MIN_COMBINED`, `MIN_FIRST` or `SCALED`.
        round_mode: `HALF_AWAY_FROM_ZERO`, or, in SCALED mode, `HALF_TO_EVEN`.
        name: Taken and not used, as there are no graphs.
        narrow_range: In SCALED mode, leave out the lowest integer.
        axis: Slices along it have ranges of their own; not in MIN_FIRST mode.
        ensure_minimum_range: Least width of the range, as a share of its larger end or of 1.

    Raises:
        ConfigurationError: What TensorFlow refuses, too.
    """
    kind = _Type.of(T)
    _check(mode, round_mode)
    values, container = received(input)
    x = np.asarray(values, np.float32)
    lows, highs, along = _ranges(x, min_range, max_range, mode, axis)
    result = np.empty(x.shape, kind.numpy)
    ends = []
    for index in range(lows.size):
        at = _at(x, along, index)
        low, high = _widened(lows[index], highs[index], np.float32(ensure_minimum_range))
        quantized, low, high = _QUANTIZERS[mode](x[at], low, high, kind, round_mode, narrow_range)
        result[at] = quantized
        ends.append((low, high))
    low_ends, high_ends = np.asarray(ends, np.float32).T
    shape = () if along is None else (-1,)
    return TFQuantized(
        container.integers(result),
        container.scales(low_ends.reshape(shape)),
        container.scales(high_ends.reshape(shape)),
    )


def tf_dequantize(
    input: Any,  # noqa: A002
    min_range: Any,
    max_range: Any,
    T: Any = None,  # noqa: N803
    mode: str = "MIN_COMBINED",
    name: str | None = None,
    axis: int | None = None,
    narrow_range: bool = False,
) -> Any:
    """Dequantizes as `tf.quantization.dequantize` of TensorFlow 2 does.

    Args:
        input: Integers: numbers, lists, numpy or torch.
        min_range: Lower end of the range that they were quantized with.
        max_range: Upper end.
        T: Their type; by default that of a numpy array.
        mode: That they were quantized in.
        name: Taken and not used.
        axis: Slices along it have ranges of their own.
        narrow_range: As in quantizing.

    Returns:
        float32 values of the kind of the input.
    """
    _check(mode, _ROUNDING[0])
    values, container = received(input)
    stored = getattr(getattr(input, "dtype", None), "name", None)
    kind = _Type.of(f"q{stored}" if T is None and stored else T)
    q = np.asarray(values, np.float32) if kind.name != "qint32" else values
    lows, highs, along = _ranges(values, min_range, max_range, mode, axis)
    result = np.empty(values.shape, np.float32)
    for index in range(lows.size):
        at = _at(values, along, index)
        result[at] = _dequantized(q[at], lows[index], highs[index], kind, mode, narrow_range)
    return Container(container.kind, None, container.device).floats(result)


def _check(mode: str, round_mode: str) -> None:
    if mode not in _MODES:
        raise _unknown("mode", mode, _MODES)
    if round_mode not in _ROUNDING:
        raise _unknown("round mode", round_mode, _ROUNDING)
    if round_mode == "HALF_TO_EVEN" and mode != "SCALED":
        raise ConfigurationError(
            "HALF_TO_EVEN goes with mode SCALED only",
            why="TensorFlow refuses it elsewhere, too",
            fix="take HALF_AWAY_FROM_ZERO",
        )


def _unknown(what: str, given: object, known: tuple[str, ...]) -> ConfigurationError:
    return ConfigurationError(
        f"there is no {what} {given!r}",
        fix=did_you_mean(str(given), known, f"there are {', '.join(known)}"),
    )


def _ranges(
    x: Array, low: Any, high: Any, mode: str, axis: int | None
) -> tuple[Array, Array, int | None]:
    """float32 ends [slices], and the axis of the slices."""
    ends = [np.asarray(received(each)[0], np.float32) for each in (low, high)]
    along = None if axis in (None, -1) else axis
    if along is not None and not 0 <= along < x.ndim:
        raise ConfigurationError(
            f"there is no axis {axis} in a tensor of shape {x.shape}",
            fix="give an axis of the tensor",
        )
    slices = 1 if along is None else x.shape[along]
    if any(each.size != slices for each in ends):
        raise ConfigurationError(
            f"ranges of {ends[0].size} and {ends[1].size} numbers do not fit {slices} slices",
            fix="give one range, or one for each slice along the axis",
        )
    if along is not None and slices > 1 and mode == "MIN_FIRST":
        raise ConfigurationError(
            "MIN_FIRST has one range",
            why="TensorFlow takes no axis there",
            fix="leave the axis out, or take SCALED",
        )
    flat = [each.reshape(-1) for each in ends]
    if np.any(flat[1] < flat[0]):
        raise ConfigurationError(
            f"a range ends below its beginning: [{low}, {high}]", fix="give the lower end first"
        )
    return flat[0], flat[1], along


def _at(x: Array, axis: int | None, index: int) -> tuple[Any, ...]:
    return (...,) if axis is None else (slice(None),) * axis + (index,)


def _widened(low: np.float32, high: np.float32, least: np.float32) -> tuple[np.float32, np.float32]:
    """The range with 0 in it and of some width, so that no two integers mean one number."""
    bottom = min(np.float32(0), low)
    epsilon = max(_ONE, abs(low), abs(high)) * least
    return bottom, max(np.float32(0), high, bottom + epsilon)


_Quantized = tuple[Array, np.float32, np.float32]


def _min_combined(
    x: Array, low: np.float32, high: np.float32, kind: _Type, rounding: str, narrow: bool
) -> _Quantized:
    # The kernel divides the limits in float64 and keeps the quotient in float32.
    factor = np.float32((kind.high - kind.low) / np.float64(high - low))
    steps = (np.clip(x, low, high) - low) * factor
    if kind.low == 0:
        return _cast(np.trunc(steps + np.float32(0.5)), kind), low, high
    return _cast(_half_away(steps - kind.half), kind), low, high


def _min_first(
    x: Array, low: np.float32, high: np.float32, kind: _Type, rounding: str, narrow: bool
) -> _Quantized:
    factor = np.float32((kind.high - kind.low) / np.float64(high - low))
    start = _half_away(np.asarray(low * factor)) - np.float32(kind.low)
    whole = _half_away(x * factor) - start
    limits = (np.float32(kind.low), min(np.float32(kind.high), np.float32(2147483520.0)))
    return _cast(np.clip(whole, *limits), kind), low, high


def _scaled(
    x: Array, low: np.float32, high: np.float32, kind: _Type, rounding: str, narrow: bool
) -> _Quantized:
    lowest, highest = kind.low + int(narrow), kind.high
    largest = np.finfo(np.float32).max
    below = np.float32(lowest) / low if lowest * low > 0 else largest
    above = np.float32(highest) / high if highest * high > 0 else largest
    factor = min(below, above)
    bottom, top = (_flushed(np.float32(each) / factor) for each in (lowest, highest))
    round_half: Callable[[Array], Array] = np.rint if rounding == "HALF_TO_EVEN" else _half_away
    return _cast(round_half(np.clip(x, bottom, top) * factor), kind), bottom, top


_QUANTIZERS = {"MIN_COMBINED": _min_combined, "MIN_FIRST": _min_first, "SCALED": _scaled}


def _half_away(values: Array) -> Array:
    """Rounds half away from zero, as C's `round`; exact, which floor(|x| + 0.5) is not."""
    whole = np.trunc(values)
    return np.asarray(whole + np.where(np.abs(values - whole) >= 0.5, np.sign(values), 0.0))


def _flushed(value: np.float32) -> np.float32:
    """TensorFlow's threads take numbers below the smallest normal one for 0."""
    return value if abs(value) >= np.finfo(np.float32).tiny else np.float32(0)


def _cast(whole: Array, kind: _Type) -> Array:
    """What float32 rounds up to beyond an int32 becomes the largest one.

    The one difference: TensorFlow's cast of such a number is undefined, on x86 the smallest one.
    """
    return np.clip(whole.astype(np.float64), kind.low, kind.high).astype(kind.numpy)


def _dequantized(
    q: Array, low: np.float32, high: np.float32, kind: _Type, mode: str, narrow: bool
) -> Array:
    q = q.astype(np.float32)
    span = np.float32(kind.high) - np.float32(kind.low)
    if mode == "MIN_COMBINED":
        return np.asarray((q + kind.half) * ((high - low) / span) + low)
    if mode == "SCALED":
        above = _flushed(high / np.float32(kind.high))
        below = low / np.float32(kind.low + int(narrow)) if kind.low else above
        return np.asarray(q * max(below, above))
    step = np.float32(np.float64(high - low) / (kind.high - kind.low))
    start = low if high == low else _half_away(np.asarray(low / step)) * step
    return np.asarray((start - np.float32(kind.low) * step) + q * step)
