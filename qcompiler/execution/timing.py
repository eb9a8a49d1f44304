"""Interleaved timing on a noisy machine: which of several runs is faster, and how sure that is.

All candidates run in every round, each for a moment only, so a slow spell hits them alike; every
run is timed by itself, and the quickest one of a candidate counts for its round. `ratio.py` makes
times, ratios and intervals of these; nothing else in the project does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from qcompiler.errors import ConfigurationError
from qcompiler.execution.crowding import waited as waited_so_far
from qcompiler.execution.ratio import CONFIDENCE, Ratio, Times, columns, ratio, typical
from qcompiler.execution.spreading import spread

Run = Callable[[], object]
Clock = Callable[[], float]
TURN = 4e-3
"""A candidate runs for at least this many seconds in every round, and at least twice: the first
runs bring its data and threads back. With two threads, turns of 1 ms told 1.22x of a network of
0.2 ms, turns of 4 and 8 ms 1.62x, as two processes did one after the other (1.57x to 1.62x)."""
_LEAST_RUNS = 2
_TICK = 2e-5
"""Runs that are shorter than this many seconds are timed several at once."""
_WARMUP = 2
WIDE = 1.3
"""Ends of an interval that are further apart than this are told instead of the ratio."""
_NARROW = 1.1
"""Timing goes on until intervals are as narrow as this, or the time is up."""
_CROWDED = 0.05
"""Share of the quietest rounds spent waiting for a core, above which the machine is told busy."""
_PATIENCE = 4
"""Times `min_rounds` before timing may stop early on a busy machine: its first rounds may all be of
one spell, and agree."""
_CHECK_GROWTH = 1.1
"""Rounds between two looks at the intervals grow by this factor: a look costs a bootstrap."""


@dataclass(frozen=True)
class Latency:
    """Timing of one candidate.

    Attributes:
        seconds: Of one run, when nothing else does.
        ratio: Its seconds / the baseline's; below 1 is faster than it.
        low: Lower end of the confidence interval of `ratio`.
        high: Upper end.
        rounds: Rounds measured; 0 for a time that comes from a model.
        chance: How sure it is that `ratio` is at most 1, from 0 to 1.
        waiting: Seconds that threads waited for a core per second, in the quietest rounds.
    """

    seconds: float
    ratio: float
    low: float
    high: float
    rounds: int
    chance: float = 1.0
    waiting: float = 0.0

    @property
    def faster(self) -> bool:
        """Whether it beats the baseline, by the confidence interval."""
        return self.high < 1.0

    @property
    def slower(self) -> bool:
        """Whether it loses to the baseline, by the confidence interval."""
        return self.low > 1.0

    @property
    def is_wide(self) -> bool:
        """Whether the interval is so wide that the ratio means little."""
        return self.high > WIDE * self.low

    @property
    def is_crowded(self) -> bool:
        """Whether something else ran on the cores all the time, so that no sample is quiet."""
        return self.waiting > _CROWDED

    @property
    def speed(self) -> str:
        """How many times faster: `2.10x`, or only the interval where that is wide."""
        if self.is_wide:
            return f"machine busy: {self.interval}"
        return f"{1 / self.ratio:.2f}x"

    @property
    def interval(self) -> str:
        """How many times faster, between the ends of the confidence interval."""
        return f"{1 / self.high:.2f}x to {1 / self.low:.2f}x"

    @property
    def evidence(self) -> str:
        """What stands behind it: `0.478 of the time (0.465 to 0.491 with 95 %, 41 rounds)`."""
        if not self.rounds:
            return f"{self.ratio:.3g} of the time"
        told = f"{self.low:.3g} to {self.high:.3g}"
        told = f"{told} of the time" if self.is_wide else f"{self.ratio:.3g} of the time, {told}"
        return f"{told} with {100 * CONFIDENCE:.0f} % in {self.rounds} rounds"

    @property
    def certainty(self) -> str:
        """How sure it is that it is not slower: `not slower, by 100 of 100 resamples`.

        Empty for a time that comes from a model. On a busy machine what was seen there is said.
        """
        if not self.rounds:
            return ""
        told = f"not slower, by {100 * self.chance:.0f} of 100 resamples"
        if self.is_crowded:
            share = f"{100 * self.waiting:.0f} %"
            told += f"; other programs ran on the cores all the time (waited {share}), so that "
            told += "a quiet machine may give another ratio"
        return told

    def including(self, other: float) -> Latency:
        """With the interval extended to a ratio that was measured in another way."""
        return Latency(
            self.seconds, self.ratio, min(self.low, other), max(self.high, other), self.rounds,
            self.chance, self.waiting,
        )  # fmt: skip


def compare_latency(
    runs: Mapping[str, Run | Sequence[Run]],
    budget_seconds: float = 2.0,
    min_rounds: int = 11,
    *,
    baseline: str | None = None,
    decisive: float = 0.02,
    rest: float = 0.0,
    clock: Clock = time.perf_counter,
    waited: Clock = waited_so_far,
    apart: Callable[[], AbstractContextManager[None]] = spread,
) -> dict[str, Latency]:
    """Times the candidates round by round.

    Stops at the budget, or when every ratio's confidence interval is narrow and lies on one side of
    1 by more than `decisive` (or within `decisive` of 1 on both sides). At least `min_rounds` are
    measured.

    Args:
        runs: Candidates by name: a run, or several (one for each feed) whose times are added.
        budget_seconds: Wall time for everything, warm-up included.
        min_rounds: Rounds measured whatever they take.
        baseline: What ratios refer to; the first candidate by default.
        decisive: Margin around 1.
        rest: Seconds of sleep before each turn, for candidates of several engines: threads of one
            (OpenMP's) spin on for a while after a run, on the cores of the next.
        clock: Seconds, monotonic.
        waited: Seconds that threads of this process have waited for a core so far.
        apart: Gives each thread its own core, for every other round while they have to wait.

    Raises:
        ConfigurationError: No candidates, an unknown baseline, or no rounds.
    """
    names = list(runs)
    reference = baseline if baseline is not None else next(iter(names), "")
    if reference not in runs:
        raise ConfigurationError(f"no candidate {reference!r} to compare with")
    if min_rounds < 1:
        raise ConfigurationError(f"min_rounds must be positive, not {min_rounds}")
    end = clock() + budget_seconds
    turns = {name: _turns(each, clock) for name, each in runs.items()}
    samples: dict[str, list[list[float]]] = {name: [] for name in names}
    waits: list[float] = []
    look, bound = float(min_rounds), False
    while len(waits) < min_rounds or clock() < end:
        begun, idle = clock(), waited()
        with apart() if bound else nullcontext():
            for name in _rotated(names, len(waits)):
                if rest:
                    time.sleep(rest)
                samples[name].append([turn.quickest(clock) for turn in turns[name]])
        waits.append((waited() - idle) / max(clock() - begun, 1e-9))
        bound = not bound and waits[-1] > _CROWDED
        if len(waits) >= look:
            look = len(waits) * _CHECK_GROWTH
            crowded = typical(columns(waits)) > _CROWDED
            enough = len(waits) >= _PATIENCE * min_rounds or not crowded
            if enough and _is_decided(_ratios(samples, reference), reference, decisive):
                break
    waiting = max(typical(columns(waits)), 0.0)
    found = _ratios(samples, reference)
    times = {name: typical(columns(each)) for name, each in samples.items()}
    return {
        name: Latency(
            times[name], each.value, each.low, each.high, len(waits), each.chance, waiting
        )
        for name, each in found.items()
    }


def fastest(run: Run, repeats: int, clock: Clock = time.perf_counter) -> float:
    """Seconds of the fastest of a few runs, of which the lowest quantile is the least one."""
    return min(_timed(run, 1, clock) for _ in range(repeats))


@dataclass(frozen=True)
class _Turn:
    """What a candidate does when its turn comes.

    Attributes:
        run: One run.
        samples: Times that are taken, of which the least counts.
        together: Runs of each.
    """

    run: Run
    samples: int
    together: int

    def quickest(self, clock: Clock) -> float:
        """Seconds of one run."""
        return min(_timed(self.run, self.together, clock) for _ in range(self.samples))


def _turns(runs: Run | Sequence[Run], clock: Clock) -> list[_Turn]:
    """Warms a candidate up, and finds out how often it runs in a turn."""
    found = []
    for run in [runs] if callable(runs) else runs:
        for _ in range(_WARMUP):
            run()
        seconds = max(_timed(run, 1, clock), 1e-7)
        together = max(1, math.ceil(_TICK / seconds))
        samples = max(_LEAST_RUNS, math.ceil(TURN / (together * seconds)))
        found.append(_Turn(run, samples, together))
    return found


def _timed(run: Run, together: int, clock: Clock) -> float:
    start = clock()
    for _ in range(together):
        run()
    return (clock() - start) / together


def _rotated(names: list[str], by: int) -> list[str]:
    """Another one goes first in every round."""
    shift = by % len(names)
    return names[shift:] + names[:shift]


def _ratios(samples: Mapping[str, Sequence[Sequence[float]]], reference: str) -> dict[str, Ratio]:
    times: dict[str, Times] = {name: columns(each) for name, each in samples.items()}
    return {name: ratio(each, times[reference]) for name, each in times.items()}


def _is_decided(ratios: Mapping[str, Ratio], reference: str, margin: float) -> bool:
    for name, each in ratios.items():
        if name == reference:
            continue
        apart = each.high < 1 - margin or each.low > 1 + margin
        equal = each.low > 1 - margin and each.high < 1 + margin
        if not (equal or (apart and each.high <= _NARROW * each.low)):
            return False
    return True
