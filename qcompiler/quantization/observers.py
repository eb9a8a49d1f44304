"""The calibration methods, by name in `OBSERVERS`; `Observer` has what they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.quantization.bounds import SENTINEL_LIMIT, Bounds
from qcompiler.quantization.histogram import DEFAULT_BINS, ROW_CAP, Histogram, sample_rows
from qcompiler.quantization.observer import Arrays, Observer
from qcompiler.quantization.peaks import Peaks, foreseen, row_ends
from qcompiler.quantization.qspace import QSpace, Range
from qcompiler.quantization.range_search import entropy_range, mse_range, percentile_range
from qcompiler.quantization.row_extremes import RowExtremes

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
    """The extremes, and what is to be expected beyond them where few rows (samples) were seen.

    Takes extremes that an engine reduced in its own graph, too.

    Attributes:
        peaks: The rows that reach furthest (`foreseen`).
    """

    name: ClassVar[str] = "minmax"
    peaks: Peaks = field(default_factory=Peaks)

    def update_bounds(self, low: float, high: float, count: int, peaks: Peaks) -> Self:
        """Adds the extremes of `count` values, and those of their rows; float32 numbers."""
        bounds = self.bounds.merge(Bounds.reduced(low, high, count))
        return replace(self, bounds=bounds, peaks=self.peaks.merge(peaks))

    def _add(self, values: npt.NDArray[np.float32], bounds: Bounds) -> dict[str, Any]:
        return {"peaks": self.peaks.merge(Peaks.of(*row_ends(values, bounds)))}

    def _join(self, other: Any) -> dict[str, Any]:
        return {"peaks": self.peaks.merge(other.peaks)}

    def _save(self) -> Arrays:
        return _above(self.peaks.state(), "peaks")

    @classmethod
    def load(cls, state: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        return {"peaks": Peaks.from_state(_below(state, "peaks"))}

    def _pick(self, space: QSpace) -> Range:
        return foreseen(Range(self.low, self.high), self.bounds, self.peaks, space)


@dataclass(frozen=True, eq=False)
class MovingAverage(Observer):
    """The mean over rows (samples) of each row's minimum and of its maximum.

    Attributes:
        extremes: Sums of them.
    """

    name: ClassVar[str] = "moving-average"
    extremes: RowExtremes = field(default_factory=RowExtremes)

    def _add(self, values: npt.NDArray[np.float32], bounds: Bounds) -> dict[str, Any]:
        return {"extremes": self.extremes.update(*row_ends(values, bounds))}

    def _join(self, other: Any) -> dict[str, Any]:
        return {"extremes": self.extremes.merge(other.extremes)}

    def _save(self) -> Arrays:
        return self.extremes.state()

    @classmethod
    def load(cls, state: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        return {"extremes": RowExtremes.from_state(state)}

    def _pick(self, space: QSpace) -> Range:
        found = self.extremes.mean()
        if not self.bounds.has_sentinel:
            return found
        return Range(min(self.low_without_sentinel, found.high), found.high)


_PARTS = ("body", "masked", "extremes", "peaks")
"""What a histogram observer keeps besides its bounds."""


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
        extremes: Of the rows.
        peaks: The rows that reach furthest.
    """

    options: ClassVar[tuple[str, ...]] = ("bins", "cap")
    bins: int = DEFAULT_BINS
    cap: int = ROW_CAP
    body: Histogram = field(default_factory=Histogram)
    masked: Histogram = field(default_factory=Histogram)
    extremes: RowExtremes = field(default_factory=RowExtremes)
    peaks: Peaks = field(default_factory=Peaks)

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
        ends = row_ends(values, bounds)
        rows = {
            "extremes": self.extremes.update(*ends),
            "peaks": self.peaks.merge(Peaks.of(*ends)),
        }
        if bounds.low > SENTINEL_LIMIT:
            return {"body": self.body.update(sample, bounds.low, bounds.high), **rows}
        apart = sample <= SENTINEL_LIMIT
        masked = self.masked.update(sample[apart], bounds.low, bounds.masked_high)
        if bounds.body_low > bounds.high:
            return {"masked": masked, **rows}
        body = self.body.update(sample[~apart], bounds.body_low, bounds.high)
        return {"body": body, "masked": masked, **rows}

    def _join(self, other: Any) -> dict[str, Any]:
        return {part: getattr(self, part).merge(getattr(other, part)) for part in _PARTS}

    def _save(self) -> Arrays:
        saved: Arrays = {}
        for part in _PARTS:
            saved |= _above(getattr(self, part).state(), part)
        return saved

    @classmethod
    def load(cls, state: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        extremes = RowExtremes.from_state(_below(state, "extremes"))
        parts = {part: Histogram.from_state(_below(state, part)) for part in ("body", "masked")}
        return {**parts, "extremes": extremes, "peaks": Peaks.from_state(_below(state, "peaks"))}


@dataclass(frozen=True, eq=False)
class Percentile(HistogramObserver):
    """Leaves (100 - percentile) % of the values out at each end."""

    name: ClassVar[str] = "percentile"
    options: ClassVar[tuple[str, ...]] = ("percentile", "bins", "cap")
    percentile: float = 99.99

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 50.0 < self.percentile <= 100.0:
            raise ConfigurationError(
                f"percentile must be in (50, 100], not {self.percentile}",
                fix="give one such as 99.9",
            )

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
    """Least expected squared error, of rows (samples) that were not seen, too (`foreseen`)."""

    name: ClassVar[str] = "mse"

    def _pick(self, space: QSpace) -> Range:
        return foreseen(mse_range(self.histogram(), space), self.bounds, self.peaks, space)


OBSERVERS: dict[str, type[Observer]] = {
    kind.name: kind for kind in (MinMax, MovingAverage, Percentile, Entropy, Mse)
}


def make_observer(name: str, **options: Any) -> Observer:
    """An empty observer of a method: `make_observer("percentile", percentile=99.9)`.

    Raises:
        ConfigurationError: An unknown method or option.
    """
    return _kind(name).empty(**options)


def reinterpreted(observer: Observer, name: str, **options: Any) -> Observer:
    """The same statistics read by another method, with that method's own default options.

    Raises:
        ConfigurationError: The statistics do not hold what the method needs: only histograms can
            be read by another method.
    """
    kind = _kind(name)
    if kind is type(observer) and not options:
        return observer
    if not isinstance(observer, HistogramObserver):
        raise ConfigurationError(f"{observer.name} statistics cannot be read as {name}")
    if kind is MinMax:
        return MinMax(bounds=observer.bounds, peaks=observer.peaks)
    if kind is MovingAverage:
        return MovingAverage(bounds=observer.bounds, extremes=observer.extremes)
    if issubclass(kind, HistogramObserver):
        return kind(
            bounds=observer.bounds,
            bins=observer.bins,
            cap=observer.cap,
            body=observer.body,
            masked=observer.masked,
            extremes=observer.extremes,
            peaks=observer.peaks,
            **options,
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
    if not isinstance(name, str) or name not in OBSERVERS:
        raise ConfigurationError(
            f"no calibration method {name!r}", fix=f"use one of {', '.join(OBSERVERS)}"
        )
    return OBSERVERS[name]


def _above(state: Arrays, prefix: str) -> Arrays:
    """The entries as `prefix.*`."""
    return {f"{prefix}.{key}": array for key, array in state.items()}


def _below(state: Mapping[str, npt.NDArray[Any]], prefix: str) -> Arrays:
    """The entries `prefix.*`, under what follows the dot."""
    start = f"{prefix}."
    return {key.removeprefix(start): state[key] for key in state if key.startswith(start)}
