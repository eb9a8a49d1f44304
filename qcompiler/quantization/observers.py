"""The calibration methods, by name in `OBSERVERS`; `Observer` has what they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.quantization.bounds import SENTINEL_LIMIT, Bounds
from qcompiler.quantization.exact_sum import ExactSum
from qcompiler.quantization.histogram import DEFAULT_BINS, ROW_CAP, Histogram, sample_rows
from qcompiler.quantization.observer import Arrays, Observer
from qcompiler.quantization.qspace import QSpace, Range
from qcompiler.quantization.range_search import entropy_range, mse_range, percentile_range

__all__ = [
    "OBSERVERS",
    "Entropy",
    "HistogramObserver",
    "MinMax",
    "MovingAverage",
    "Mse",
    "Observer",
    "Percentile",
    "make_observer",
    "observer_from_state",
]


@dataclass(frozen=True, eq=False)
class MinMax(Observer):
    """The exact extremes; also takes extremes that an engine reduced in its own graph."""

    name: ClassVar[str] = "minmax"

    def update_bounds(self, low: float, high: float, count: int) -> Self:
        """Adds the extremes of `count` values; float32 numbers."""
        return replace(self, bounds=self.bounds.merge(Bounds.reduced(low, high, count)))

    def _pick(self, space: QSpace) -> Range:
        return Range(self.low, self.high)


@dataclass(frozen=True, eq=False)
class MovingAverage(Observer):
    """The mean over rows (samples) of each row's minimum and of its maximum.

    The usual exponential average depends on the order and the batch size; this is its order-free
    limit. Sums are exact, so the mean is the correctly rounded one.

    Attributes:
        rows: Rows with a finite value.
        lows: Sum of row minima.
        highs: Sum of row maxima.
    """

    name: ClassVar[str] = "moving-average"
    rows: int = 0
    lows: ExactSum = field(default_factory=ExactSum)
    highs: ExactSum = field(default_factory=ExactSum)

    def _add(self, values: npt.NDArray[np.float32], bounds: Bounds) -> dict[str, Any]:
        rows = values.reshape(values.shape[0] if values.ndim else 1, -1)
        lows, highs = rows.min(axis=1), rows.max(axis=1)
        if any(bounds.nonfinite):
            finite = np.isfinite(rows)
            lows = rows.min(axis=1, where=finite, initial=np.float32(np.inf))
            highs = rows.max(axis=1, where=finite, initial=np.float32(-np.inf))
            lows, highs = lows[finite.any(axis=1)], highs[finite.any(axis=1)]
        seen = self.rows + lows.size
        return {"rows": seen, "lows": self.lows.update(lows), "highs": self.highs.update(highs)}

    def _join(self, other: Any) -> dict[str, Any]:
        lows, highs = self.lows.merge(other.lows), self.highs.merge(other.highs)
        return {"rows": self.rows + other.rows, "lows": lows, "highs": highs}

    def _save(self) -> Arrays:
        rows = np.asarray(self.rows)
        return {"rows": rows, "lows": self.lows.slots, "highs": self.highs.slots}

    @classmethod
    def load(cls, state: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        lows, highs = ExactSum(state["lows"]), ExactSum(state["highs"])
        return {"rows": int(state["rows"]), "lows": lows, "highs": highs}

    def _pick(self, space: QSpace) -> Range:
        return Range(self.lows.mean(self.rows), self.highs.mean(self.rows))


@dataclass(frozen=True, eq=False)
class HistogramObserver(Observer):
    """Base of the methods that search a histogram.

    Values that may be attention-mask sentinels have a histogram of their own, so they do not
    coarsen the other. They are left out of the range if `Bounds.has_sentinel` says that they stand
    apart (`low_without_sentinel` differs from `low` then, which is how a caller can report it),
    and merged into the other histogram if not.

    Attributes:
        bins: Most bins of a histogram.
        cap: Elements taken of a long row (`sample_rows`); the extremes stay exact.
        body: Values above `SENTINEL_LIMIT`.
        masked: The others.
    """

    options: ClassVar[tuple[str, ...]] = ("bins", "cap")
    bins: int = DEFAULT_BINS
    cap: int = ROW_CAP
    body: Histogram = field(default_factory=Histogram)
    masked: Histogram = field(default_factory=Histogram)

    def __post_init__(self) -> None:
        if self.cap < 1:
            raise ConfigurationError(f"cap must be positive, not {self.cap}")
        for part in ("body", "masked"):
            if getattr(self, part).is_empty:
                object.__setattr__(self, part, Histogram(bins=self.bins))

    def histogram(self) -> Histogram:
        """What the range is searched in: without the mask values if they stand apart."""
        return self.body if self.bounds.has_sentinel else self.body.merge(self.masked)

    def _add(self, values: npt.NDArray[np.float32], bounds: Bounds) -> dict[str, Any]:
        sample = sample_rows(values, self.cap)
        if any(bounds.nonfinite):
            sample = sample[np.isfinite(sample)]
        if bounds.count == 0:
            return {}
        if bounds.low > SENTINEL_LIMIT:
            return {"body": self.body.update(sample, bounds.low, bounds.high)}
        apart = sample <= SENTINEL_LIMIT
        masked = self.masked.update(sample[apart], bounds.low, bounds.masked_high)
        if bounds.body_low > bounds.high:
            return {"masked": masked}
        body = self.body.update(sample[~apart], bounds.body_low, bounds.high)
        return {"body": body, "masked": masked}

    def _join(self, other: Any) -> dict[str, Any]:
        return {"body": self.body.merge(other.body), "masked": self.masked.merge(other.masked)}

    def _save(self) -> Arrays:
        parts = {"body": self.body.state(), "masked": self.masked.state()}
        return {f"{part}.{key}": array for part in parts for key, array in parts[part].items()}

    @classmethod
    def load(cls, state: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        return {part: Histogram.from_state(_below(state, part)) for part in ("body", "masked")}


@dataclass(frozen=True, eq=False)
class Percentile(HistogramObserver):
    """Leaves (100 - percentile) % of the values out at each end."""

    name: ClassVar[str] = "percentile"
    options: ClassVar[tuple[str, ...]] = ("percentile", "bins", "cap")
    percentile: float = 99.99

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 50.0 < self.percentile <= 100.0:
            raise ConfigurationError(f"percentile must be in (50, 100], not {self.percentile}")

    def _pick(self, space: QSpace) -> Range:
        return percentile_range(self.histogram(), self.percentile)


@dataclass(frozen=True, eq=False)
class Entropy(HistogramObserver):
    """Least Kullback-Leibler divergence (TensorRT's calibration)."""

    name: ClassVar[str] = "entropy"

    def _pick(self, space: QSpace) -> Range:
        return entropy_range(self.histogram(), space)


@dataclass(frozen=True, eq=False)
class Mse(HistogramObserver):
    """Least expected squared error."""

    name: ClassVar[str] = "mse"

    def _pick(self, space: QSpace) -> Range:
        return mse_range(self.histogram(), space)


OBSERVERS: dict[str, type[Observer]] = {
    kind.name: kind for kind in (MinMax, MovingAverage, Percentile, Entropy, Mse)
}


def make_observer(name: str, **options: Any) -> Observer:
    """An empty observer of a method: `make_observer("percentile", percentile=99.9)`.

    Raises:
        ConfigurationError: An unknown method or option.
    """
    return _kind(name).empty(**options)


def reinterpreted(observer: Observer, name: str) -> Observer:
    """The same statistics read by another method, with that method's own default options.

    Raises:
        ConfigurationError: The statistics do not hold what the method needs: only histograms can
            be read by another method.
    """
    kind = _kind(name)
    if kind is type(observer):
        return observer
    if not isinstance(observer, HistogramObserver):
        raise ConfigurationError(f"{observer.name} statistics cannot be read as {name}")
    if kind is MinMax:
        return MinMax(bounds=observer.bounds)
    if issubclass(kind, HistogramObserver):
        return kind(
            bounds=observer.bounds,
            bins=observer.bins,
            cap=observer.cap,
            body=observer.body,
            masked=observer.masked,
        )
    raise ConfigurationError(f"a histogram cannot be read as {name}")


def observer_from_state(state: Mapping[str, npt.NDArray[Any]]) -> Observer:
    """Reads what `Observer.state` gave.

    Raises:
        CalibrationError: A state that no observer wrote.
    """
    try:
        kind = _kind(str(state["name"]))
        options = {key: state[f"option.{key}"].item() for key in kind.options}
        bounds = Bounds.from_state(_below(state, "bounds"))
        return kind(bounds=bounds, **options, **kind.load(state))
    except (KeyError, ValueError, TypeError, ConfigurationError) as error:
        raise CalibrationError("this is no observer state", why=str(error)) from error


def _kind(name: str) -> type[Observer]:
    if name not in OBSERVERS:
        raise ConfigurationError(
            f"no calibration method {name!r}", fix=f"use one of {', '.join(OBSERVERS)}"
        )
    return OBSERVERS[name]


def _below(state: Mapping[str, npt.NDArray[Any]], prefix: str) -> Arrays:
    """The entries `prefix.*`, under what follows the dot."""
    start = f"{prefix}."
    return {key.removeprefix(start): state[key] for key in state if key.startswith(start)}
