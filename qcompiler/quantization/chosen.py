"""`Chosen`: a range that somebody chose, with the statistics that it was chosen beside."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from qcompiler.errors import ConfigurationError
from qcompiler.quantization.observer import Observer
from qcompiler.quantization.observers import HistogramObserver
from qcompiler.quantization.qspace import QSpace, Range

USER = "the user"


@dataclass(frozen=True, eq=False)
class Given(Observer):
    """A range that is given, whatever was seen; `bounds` are those of what was seen.

    Attributes:
        given: The range.
    """

    name: ClassVar[str] = "given"
    given: Range = field(default_factory=lambda: Range(0.0, 0.0))

    def _pick(self, space: QSpace) -> Range:
        return self.given


@dataclass(frozen=True, eq=False)
class Chosen(Observer):
    """What was seen of a value, and what picks its range. Takes no more data.

    Attributes:
        seen: The statistics, which other methods can still read.
        picks: What gives the range.
        by: Who chose, for reports: `USER` or a pass.
    """

    name: ClassVar[str] = "chosen"
    seen: Observer = field(default_factory=Given)
    picks: Observer = field(default_factory=Given)
    by: str = ""

    @classmethod
    def of(cls, seen: Observer, picks: Observer, by: str) -> Chosen:
        """The choice of `picks` for what `seen` has seen."""
        origin = statistics_of(seen)
        return cls(bounds=origin.bounds, seen=origin, picks=picks, by=by)

    def _pick(self, space: QSpace) -> Range:
        return self.picks.range_for(space)

    def _add(self, values: Any, bounds: Any) -> dict[str, Any]:
        raise ConfigurationError("a chosen range takes no more data")

    def _join(self, other: Any) -> dict[str, Any]:
        raise ConfigurationError("chosen ranges cannot be merged")


def given(seen: Observer, low: float, high: float, by: str = USER) -> Chosen:
    """A range from `low` to `high` in the place of what was seen.

    Raises:
        ConfigurationError: Ends that are not finite, or in the wrong order.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        raise ConfigurationError(
            f"({low}, {high}) is no range", fix="give two finite numbers, the lower one first"
        )
    origin = statistics_of(seen)
    return Chosen.of(origin, Given(bounds=origin.bounds, given=Range(low, high)), by)


def statistics_of(observer: Observer) -> Observer:
    """What was seen, without what anybody chose."""
    return observer.seen if isinstance(observer, Chosen) else observer


def histogram_of(observer: Observer) -> HistogramObserver | None:
    """What was seen, if it holds a histogram."""
    seen = statistics_of(observer)
    return seen if isinstance(seen, HistogramObserver) else None


def is_users(observer: Observer) -> bool:
    """Whether the user gave the range."""
    return isinstance(observer, Chosen) and observer.by == USER
