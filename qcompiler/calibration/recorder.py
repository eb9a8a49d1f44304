"""`Recorder`: runs feeds through the float model and gives what was observed of each.

Extremes are reduced by ONNX Runtime inside the graph, so activations are never all alive. Methods
that need the values themselves get them in groups under a cap on bytes, and they are dropped as
soon as the observer has taken them in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.calibration.instrument import (
    FloatModel,
    bounds_outputs,
    carried_output,
    size_output,
)
from qcompiler.calibration.sites import Site
from qcompiler.execution.session import OrtSession
from qcompiler.ir.signature import Feed
from qcompiler.quantization.bounds import SENTINEL_LIMIT
from qcompiler.quantization.observers import MinMax, Observer

Array = npt.NDArray[Any]
Observations = dict[str, Observer]
"""Observers by value name."""
DEFAULT_CAP = 256 << 20
"""Bytes of observed values that may be alive at once."""
_GROWTH = 2.0
"""Feeds with this many times the elements of the measured one are measured anew."""


@dataclass(frozen=True)
class Extremes:
    """Bounds of one value in one run, as ONNX Runtime reduced them."""

    low: float
    high: float
    total: float
    size: int

    @property
    def is_plain(self) -> bool:
        """Whether the extremes say all: finite, no NaN hidden, no attention-mask sentinel.

        ReduceMin and ReduceMax may skip NaN; the sum does not.
        """
        finite = np.isfinite(self.low) and np.isfinite(self.high) and np.isfinite(self.total)
        return bool(finite) and self.low > SENTINEL_LIMIT


@dataclass(eq=False)
class Recorder:
    """Observes feeds one at a time; not thread-safe.

    Attributes:
        model: The float model and its sites.
        threads: Threads of ONNX Runtime, None for its choice.
        cap: Most bytes of values fetched in one run (a single larger value is fetched alone).
        spinning: Let ONNX Runtime's idle threads spin; off when several recorders share cores.
    """

    model: FloatModel
    threads: int | None = None
    cap: int = DEFAULT_CAP
    spinning: bool = True
    _reduced: tuple[Site, ...] = field(init=False)
    _full: list[Site] = field(init=False)
    _groups: list[tuple[Site, ...]] = field(init=False, default_factory=list)
    _sessions: dict[tuple[str, ...], OrtSession] = field(init=False, default_factory=dict)
    _measured: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        plain = [isinstance(site.observer(), MinMax) for site in self.model.sites]
        pairs = list(zip(self.model.sites, plain, strict=True))
        self._reduced = tuple(site for site, is_plain in pairs if is_plain)
        self._full = [site for site, is_plain in pairs if not is_plain]

    def observe(self, feed: Feed) -> Observations:
        """Observers of this feed alone, one for every site that was computed.

        Args:
            feed: Checked arrays by input name.
        """
        seen: Observations = {}
        doubtful = self._observe_reduced(feed, seen)
        if self._full or doubtful:
            self._observe_full(feed, doubtful, seen)
        return seen

    def _observe_reduced(self, feed: Feed, seen: Observations) -> list[Site]:
        """Takes extremes over; returns the sites whose values have to be looked at."""
        if not self._reduced:
            return []
        doubtful = []
        outputs = self._run(feed, bounds=self._reduced)
        for site in self._reduced:
            runs = _extremes(site, outputs)
            if all(run.is_plain for run in runs):
                observer = _add_extremes(site.observer(), runs)
                if observer.count:
                    seen[site.value] = observer
            else:
                doubtful.append(site)
        return doubtful

    def _observe_full(self, feed: Feed, doubtful: Sequence[Site], seen: Observations) -> None:
        for group in [*self._grouped(feed), *((site,) for site in doubtful)]:
            outputs = self._run(feed, values=group)
            for site in group:
                arrays = outputs.pop(carried_output(site.value))
                observer = site.observer()
                for array in arrays if site.nested else (arrays,):
                    observer = observer.update(array)
                del arrays
                if observer.count or any(observer.nonfinite):
                    seen[site.value] = observer

    def _grouped(self, feed: Feed) -> list[tuple[Site, ...]]:
        """Sites that need their values, in groups under the cap; measured on the first feed."""
        fed = max(1, sum(each.size for each in feed.values()))
        if self._full and fed > self._measured * _GROWTH:
            sizes = self._measure(feed)
            self._groups = group_by_bytes(self._full, sizes, self.cap)
            self._measured = fed
        return self._groups

    def _measure(self, feed: Feed) -> Mapping[str, int]:
        """Elements of every value that is fetched; runs the model once."""
        plain = [site for site in self._full if not site.nested]
        nested = [site for site in self._full if site.nested]
        outputs = self._run(feed, bounds=nested, sizes=plain, keep=False)
        sizes = {site.value: int(outputs[size_output(site.value)]) for site in plain}
        for site in nested:
            sizes[site.value] = sum(run.size for run in _extremes(site, outputs))
        return sizes

    def _run(
        self,
        feed: Feed,
        bounds: Iterable[Site] = (),
        values: Iterable[Site] = (),
        sizes: Iterable[Site] = (),
        keep: bool = True,
    ) -> dict[str, Any]:
        """Runs the model instrumented for these sites; outputs by name."""
        bounds, values, sizes = tuple(bounds), tuple(values), tuple(sizes)
        names = tuple(name for site in bounds for name in _reduced_names(site)) + tuple(
            [carried_output(site.value) for site in values]
            + [size_output(site.value) for site in sizes]
        )
        session = self._sessions.get(names)
        if session is None:
            packed = self.model.instrumented(bounds, values, sizes)
            session = OrtSession(
                packed, threads=self.threads, spinning=self.spinning, early_outputs=True
            )
            if keep:
                self._sessions[names] = session
        return dict(zip(names, session.run_checked(feed, names), strict=True))


def group_by_bytes(
    sites: Sequence[Site], sizes: Mapping[str, int], cap: int
) -> list[tuple[Site, ...]]:
    """Consecutive sites whose float32 values stay under `cap` bytes together."""
    groups: list[tuple[Site, ...]] = []
    current: list[Site] = []
    used = 0
    for site in sites:
        need = 4 * sizes[site.value]
        if current and used + need > cap:
            groups.append(tuple(current))
            current, used = [], 0
        current.append(site)
        used += need
    return [*groups, tuple(current)] if current else groups


def _reduced_names(site: Site) -> tuple[str, ...]:
    return (carried_output(site.value),) if site.nested else bounds_outputs(site.value)


def _extremes(site: Site, outputs: Mapping[str, Any]) -> list[Extremes]:
    """Bounds of every non-empty array that the value was in this run."""
    if site.nested:
        rows = outputs[carried_output(site.value)]
    else:
        rows = [[outputs[name] for name in bounds_outputs(site.value)]]
    found = [Extremes(float(a), float(b), float(c), int(n)) for a, b, c, n in rows]
    return [each for each in found if each.size]


def _add_extremes(observer: Observer, runs: Sequence[Extremes]) -> Observer:
    assert isinstance(observer, MinMax)
    for run in runs:
        observer = observer.update_bounds(run.low, run.high, run.size)
    return observer


def merge_into(total: Observations, more: Observations) -> None:
    """Merges observations value by value into `total`."""
    for name, observer in more.items():
        known = total.get(name)
        total[name] = observer if known is None else known.merge(observer)
