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

    Attributes:
        extremes: Sums of them.
    """

    name: ClassVar[str] = "moving-average"
    extremes: RowExtremes = field(default_factory=RowExtremes)

    def _add(self, values: npt.NDArray[np.float32], bounds: Bounds) -> dict[str, Any]:
        return {"extremes": self.extremes.update(values, bounds)}

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
    """

    options: ClassVar[tuple[str, ...]] = ("bins", "cap")
    bins: int = DEFAULT_BINS
    cap: int = ROW_CAP
    body: Histogram = field(default_factory=Histogram)
    masked: Histogram = field(default_factory=Histogram)
    extremes: RowExtremes = field(default_factory=RowExtremes)

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
        extremes = self.extremes.update(values, bounds)
        if bounds.low > SENTINEL_LIMIT:
            body = self.body.update(sample, bounds.low, bounds.high)
            return {"body": body, "extremes": extremes}
        apart = sample <= SENTINEL_LIMIT
        masked = self.masked.update(sample[apart], bounds.low, bounds.masked_high)
        if bounds.body_low > bounds.high:
            return {"masked": masked, "extremes": extremes}
        body = self.body.update(sample[~apart], bounds.body_low, bounds.high)
        return {"body": body, "masked": masked, "extremes": extremes}

    def _join(self, other: Any) -> dict[str, Any]:
        return {
            part: getattr(self, part).merge(getattr(other, part))
            for part in ("body", "masked", "extremes")
        }

    def _save(self) -> Arrays:
        parts = {part: getattr(self, part).state() for part in ("body", "masked", "extremes")}
        return {f"{part}.{key}": array for part in parts for key, array in parts[part].items()}

    @classmethod
    def load(cls, state: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        extremes = RowExtremes.from_state(_below(state, "extremes"))
        parts = {part: Histogram.from_state(_below(state, part)) for part in ("body", "masked")}
        return {**parts, "extremes": extremes}


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
        return MinMax(bounds=observer.bounds)
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


def _below(state: Mapping[str, npt.NDArray[Any]], prefix: str) -> Arrays:
    """The entries `prefix.*`, under what follows the dot."""
    start = f"{prefix}."
    return {key.removeprefix(start): state[key] for key in state if key.startswith(start)}
