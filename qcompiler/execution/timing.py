"""Interleaved timing on a noisy machine: which of several runs is faster, and how sure that is.

All candidates run once per round, so a slow spell hits each of them alike. Other work on the
machine only ever adds time: a candidate's time is the lower quartile of its samples, a ratio is
one of such times, so that it is what the times of the same report give, and its interval is a
bootstrap over rounds (Efron and Tibshirani, An Introduction to the Bootstrap, section 13.3).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qcompiler.errors import ConfigurationError

Run = Callable[[], object]
CONFIDENCE = 0.95
_TICK = 1e-3
"""A sample lasts at least this many seconds; faster runs are repeated within it."""
_WARMUP = 2
_QUARTILE = 0.25
_RESAMPLES = 200
_WIDE = 1.15
"""Ends of an interval that are further apart than this are told."""
_CHECK_GROWTH = 1.1
"""Rounds between two looks at the intervals grow by this factor: a look costs a bootstrap."""


@dataclass(frozen=True)
class Latency:
    """Timing of one candidate.

    Attributes:
        seconds: Of one run: the lower quartile over the rounds.
        ratio: Its seconds / the baseline's; below 1 is faster than it.
        low: Lower end of the confidence interval of `ratio`.
        high: Upper end.
        rounds: Rounds measured.
    """

    seconds: float
    ratio: float
    low: float
    high: float
    rounds: int

    @property
    def faster(self) -> bool:
        """Whether it beats the baseline, by the confidence interval."""
        return self.high < 1.0

    @property
    def speed(self) -> str:
        """How many times faster: `2.10x`, with its interval where that is wide."""
        shown = f"{1 / self.ratio:.2f}x"
        if self.high <= _WIDE * self.low:
            return shown
        return f"{shown} (machine busy: {1 / self.high:.2f}x to {1 / self.low:.2f}x)"

    @property
    def slower(self) -> bool:
        """Whether it loses to the baseline, by the confidence interval."""
        return self.low > 1.0


def compare_latency(
    runs: Mapping[str, Run],
    budget_seconds: float = 2.0,
    min_rounds: int = 11,
    *,
    baseline: str | None = None,
    decisive: float = 0.02,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Latency]:
    """Times the candidates round by round.

    Stops at the budget, or when every ratio's confidence interval lies on one side of 1 by more
    than `decisive` (or within `decisive` of 1 on both sides). At least `min_rounds` are measured.

    Args:
        runs: Candidates by name; each call is one run.
        budget_seconds: Wall time for everything, warm-up included.
        min_rounds: Rounds measured whatever they take.
        baseline: What ratios refer to; the first candidate by default.
        decisive: Margin around 1.
        clock: Seconds, monotonic.

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
    repeats = {name: _warm_up(run, clock) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in names}
    rounds, look = 0, float(min_rounds)
    while rounds < min_rounds or clock() < end:
        for name in _rotated(names, rounds):
            times[name].append(_sample(runs[name], repeats[name], clock))
        rounds += 1
        if rounds >= look:
            look = rounds * _CHECK_GROWTH
            if _is_decided(times, reference, decisive):
                break
    return {name: _latency(times[name], times[reference]) for name in names}


def fastest(run: Run, repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of some runs: other work on the machine only ever adds time."""
    taken = []
    for _ in range(repeats):
        start = clock()
        run()
        taken.append(clock() - start)
    return min(taken)


def ratio_interval(
    samples: Sequence[float], reference: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Bootstrap interval of the ratio of lower quartiles, whole rounds drawn anew (fixed seed)."""
    draws = np.random.default_rng(0).integers(0, len(samples), (_RESAMPLES, len(samples)))
    own, other = (
        np.quantile(np.asarray(each, np.float64)[draws], _QUARTILE, axis=1)
        for each in (samples, reference)
    )
    ratios = np.divide(own, other, out=np.ones_like(own), where=other > 0)
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def _warm_up(run: Run, clock: Callable[[], float]) -> int:
    """Runs a candidate a few times; returns how often to repeat it per sample."""
    for _ in range(_WARMUP):
        run()
    seconds = _sample(run, 1, clock)
    return max(1, int(np.ceil(_TICK / max(seconds, 1e-7))))


def _sample(run: Run, repeats: int, clock: Callable[[], float]) -> float:
    """Seconds per run, behind one that does not count.

    That one brings the candidate's data and threads back.
    """
    run()
    start = clock()
    for _ in range(repeats):
        run()
    return (clock() - start) / repeats


def _rotated(names: list[str], by: int) -> list[str]:
    """Another one goes first in every round."""
    shift = by % len(names)
    return names[shift:] + names[:shift]


def _is_decided(times: Mapping[str, list[float]], reference: str, margin: float) -> bool:
    for name, samples in times.items():
        if name == reference:
            continue
        low, high = ratio_interval(samples, times[reference])
        apart = high < 1 - margin or low > 1 + margin
        equal = low > 1 - margin and high < 1 + margin
        if not (apart or equal):
            return False
    return True


def _latency(samples: Sequence[float], reference: Sequence[float]) -> Latency:
    """A clock that stood still gives the ratio 1."""
    own, other = (float(np.quantile(each, _QUARTILE)) for each in (samples, reference))
    ratio = own / other if other > 0 else 1.0
    low, high = ratio_interval(samples, reference)
    return Latency(own, ratio, min(low, ratio), max(high, ratio), len(samples))
