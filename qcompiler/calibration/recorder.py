"""`Recorder`: runs feeds through the float model and gives what was observed of each.

Extremes are reduced by ONNX Runtime inside the graph, so activations are never all alive. Methods
that need the values themselves get them in groups under a cap on bytes, and they are dropped as
soon as the observer has taken them in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from qcompiler.calibration.ahead import Work
from qcompiler.calibration.extremes import Extremes, Run
from qcompiler.calibration.instrument import STACKED, FloatModel, carried_output, size_output
from qcompiler.calibration.sites import Site
from qcompiler.execution.session import OrtSession
from qcompiler.ir.requests import Request
from qcompiler.ir.signature import Feed, arrays_of
from qcompiler.quantization.observers import MinMax, Observer
from qcompiler.statistics.statistic import Statistic

Observations = dict[Request, Observer | Statistic]
"""Statistics by what was asked for."""
DEFAULT_CAP = 256 << 20
"""Bytes of observed values that may be alive at once."""
_OPTIMIZED = 1024
"""Sites from which ONNX Runtime's graph optimizations cost more than they save: the time they take
grows with the square of the observed values, and is eight times that of loading the graph."""
_GROWTH = 2.0
"""Feeds with this many times the elements of the measured one are measured anew."""


@dataclass(eq=False)
class Recorder:
    """Observes feeds one at a time; not thread-safe, but for the runs of its works.

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
    _full: tuple[Site, ...] = field(init=False)
    _readers: dict[str, list[Site]] = field(init=False, default_factory=dict)
    _suspects: list[tuple[Site, ...]] = field(init=False, default_factory=list)
    _extremes: Extremes = field(init=False)
    _seen: Observations = field(init=False, default_factory=dict)
    _groups: list[tuple[Site, ...]] = field(init=False, default_factory=list)
    _sizes: Mapping[str, int] = field(init=False, default_factory=dict)
    _sessions: dict[tuple[str, ...], OrtSession] = field(init=False, default_factory=dict)
    _measured: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        plain = [isinstance(site.collector(), MinMax) for site in self.model.sites]
        pairs = list(zip(self.model.sites, plain, strict=True))
        reduced = [site for site, is_plain in pairs if is_plain]
        self._reduced = tuple(sorted(reduced, key=lambda site: site.nested))
        for site, is_plain in pairs:
            if not is_plain:
                self._readers.setdefault(site.value, []).append(site)
        self._full = tuple(readers[0] for readers in self._readers.values())
        self._extremes = Extremes.empty(len(self._reduced))

    def observe(self, feed: Feed) -> None:
        """Runs a feed and takes in what there is to see.

        Args:
            feed: Checked arrays by input name.
        """
        for work in self.works(feed):
            work.take(work.run())

    def works(self, feed: Feed) -> Iterator[Work[dict[str, Any]]]:
        """The runs of a feed, which may be under way while earlier ones are taken in."""
        for group in self._grouped(feed):
            yield self._work(partial(self._update_full, group, group), feed, values=group)
        if self._reduced:
            joined = self._suspects[0] if self._suspects else ()
            take = partial(self._take_bounds, feed, joined)
            yield self._work(take, feed, bounds=self._reduced, values=joined)

    def _work(
        self,
        take: Callable[[dict[str, Any]], None],
        feed: Feed,
        bounds: Sequence[Site] = (),
        values: Sequence[Site] = (),
    ) -> Work[dict[str, Any]]:
        """The session is made here: only its runs may be in another thread."""
        names, session = self._session(bounds, values)
        alive = 4 * sum(self._sizes.get(site.value, 0) for site in values)
        return Work(partial(_outputs, session, names, feed), take, alive)

    def _take_bounds(self, feed: Feed, joined: tuple[Site, ...], outputs: dict[str, Any]) -> None:
        """Takes in extremes, and fetches the values of those that do not say all.

        Args:
            feed: What was run.
            joined: Sites whose values were handed out besides.
            outputs: What came out.
        """
        run = Run.read(self._reduced, outputs)
        self._extremes.add(run)
        doubtful = {self._reduced[index] for index in np.flatnonzero(run.doubtful)}
        self._update(outputs, [[site] for site in doubtful.intersection(joined)])
        del outputs
        rest = doubtful.difference(joined)
        if rest:
            self._suspect(rest, run)
            for group in self._suspects:
                wanted = rest.intersection(group)
                if wanted:
                    self._update_full(group, wanted, self._run(feed, values=group))

    def take(self) -> Observations:
        """Observers by value name of everything since the last call; starts afresh."""
        taken, self._seen = self._seen, {}
        bounds, self._extremes = self._extremes, Extremes.empty(len(self._reduced))
        for index in np.flatnonzero(bounds.count):
            site = self._reduced[index]
            observer = taken.get(site.request, site.collector())
            assert isinstance(observer, MinMax)
            low, high = float(bounds.low[index]), float(bounds.high[index])
            taken[site.request] = observer.update_bounds(
                low, high, int(bounds.count[index]), bounds.peaks(int(index))
            )
        return taken

    def _suspect(self, doubtful: set[Site], run: Run) -> None:
        """Regroups the sites that were ever in doubt (one often is again) if there are new ones."""
        known = {site for group in self._suspects for site in group}
        if doubtful <= known:
            return
        self._sessions.clear()
        sizes = {s.value: int(n) for s, n in zip(self._reduced, run.size, strict=True)}
        wanted = [site for site in self._reduced if site in doubtful | known]
        self._sizes = {**self._sizes, **{site.value: sizes[site.value] for site in wanted}}
        self._suspects = group_by_bytes(wanted, sizes, self.cap)

    def _update_full(
        self, group: Sequence[Site], wanted: Collection[Site], outputs: dict[str, Any]
    ) -> None:
        """Updates the observers of the wanted sites of a group from the values themselves."""
        full = set(self._full)
        self._update(outputs, [self._readers[s.value] if s in full else [s] for s in wanted])

    def _update(self, outputs: dict[str, Any], readers: Iterable[Sequence[Site]]) -> None:
        """Updates all readers of one value after the other, dropping each value when it is in."""
        for sites in readers:
            arrays = outputs.pop(carried_output(sites[0].value))
            for reader in sites:
                seen = self._seen.get(reader.request) or reader.collector()
                for array in arrays if reader.nested else (arrays,):
                    seen = seen.update(array)
                if seen.count or (isinstance(seen, Observer) and any(seen.nonfinite)):
                    self._seen[reader.request] = seen
            del arrays

    def _grouped(self, feed: Feed) -> list[tuple[Site, ...]]:
        """Sites that need their values, in groups under the cap; measured on the first feed."""
        fed = max(1, sum(array.size for _, array in arrays_of(feed)))
        if self._full and fed > self._measured * _GROWTH:
            self._sizes = {**self._sizes, **self._measure(feed)}
            self._groups = group_by_bytes(self._full, self._sizes, self.cap)
            self._measured = fed
        return self._groups

    def _measure(self, feed: Feed) -> Mapping[str, int]:
        """Elements of every value that is fetched; runs the model once."""
        plain = [site for site in self._full if not site.nested]
        nested = [site for site in self._full if site.nested]
        outputs = self._run(feed, bounds=nested, sizes=plain, keep=False)
        sizes = {site.value: int(outputs[size_output(site.value)]) for site in plain}
        run = Run.read(nested, outputs)
        return sizes | {s.value: int(n) for s, n in zip(nested, run.size, strict=True)}

    def _run(
        self,
        feed: Feed,
        bounds: Sequence[Site] = (),
        values: Sequence[Site] = (),
        sizes: Sequence[Site] = (),
        keep: bool = True,
    ) -> dict[str, Any]:
        """Runs the model instrumented for these sites; outputs by name."""
        names, session = self._session(bounds, values, sizes, keep)
        return _outputs(session, names, feed)

    def _session(
        self,
        bounds: Sequence[Site] = (),
        values: Sequence[Site] = (),
        sizes: Sequence[Site] = (),
        keep: bool = True,
    ) -> tuple[tuple[str, ...], OrtSession]:
        """The model instrumented for these sites, and the names of what it gives out."""
        names = _output_names(bounds, values, sizes)
        session = self._sessions.get(names)
        if session is None:
            session = OrtSession(
                self.model.instrumented(bounds, values, sizes),
                threads=self.threads,
                optimize=len(bounds) + len(values) + len(sizes) < _OPTIMIZED,
                spinning=self.spinning,
                early_outputs=True,
            )
            if keep:
                self._sessions[names] = session
        return names, session


def _outputs(session: OrtSession, names: Sequence[str], feed: Feed) -> dict[str, Any]:
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


def _output_names(
    bounds: Sequence[Site], values: Sequence[Site], sizes: Sequence[Site]
) -> tuple[str, ...]:
    """What a model that is instrumented for these sites gives out."""
    stacked = STACKED if any(not site.nested for site in bounds) else ()
    carried = [carried_output(s.value) for s in bounds if s.nested]
    carried += [carried_output(s.value) for s in values]
    return (*stacked, *carried, *(size_output(s.value) for s in sizes))


def merge_into(total: Observations, more: Observations) -> None:
    """Merges observations value by value into `total`."""
    for name, observer in more.items():
        known = total.get(name)
        total[name] = observer if known is None else _merged(known, observer)


def _merged(one: Observer | Statistic, two: Observer | Statistic) -> Observer | Statistic:
    """Both are results of one request, so they are of one class."""
    assert type(one) is type(two)
    merge: Callable[[Observer | Statistic], Observer | Statistic] = one.merge  # type: ignore[assignment]
    return merge(two)
