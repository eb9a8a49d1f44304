"""Interleaved timing on a noisy machine: which of several runs is faster, and how sure that is.

All candidates run once per round, so a slow spell hits each of them, and only ratios within a round
are used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from qcompiler.errors import ConfigurationError

Run = Callable[[], object]
CONFIDENCE = 0.95
_TICK = 1e-3
"""A sample lasts at least this many seconds; faster runs are repeated within it."""
_WARMUP = 2


@dataclass(frozen=True)
class Latency:
    """Timing of one candidate.

    Attributes:
        median: Seconds per run.
        ratio: Median over rounds of its time / the baseline's; below 1 is faster than it.
        low: Lower end of the confidence interval of `ratio`.
        high: Upper end.
        rounds: Rounds measured.
    """

    median: float
    ratio: float
    low: float
    high: float
    rounds: int

    @property
    def faster(self) -> bool:
        """Whether it beats the baseline, by the confidence interval."""
        return self.high < 1.0

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
    rounds = 0
    while rounds < min_rounds or clock() < end:
        for name in _rotated(names, rounds):
            times[name].append(_sample(runs[name], repeats[name], clock))
        rounds += 1
        if rounds >= min_rounds and _is_decided(times, reference, decisive):
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


def median_interval(
    samples: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Distribution-free confidence interval of the median, from order statistics.

    The number of samples below the median is Binomial(n, 1/2) (Conover, Practical Nonparametric
    Statistics, 3rd ed., section 3.2). With few samples it is the whole span.
    """
    ordered = np.sort(np.asarray(samples, np.float64))
    n = len(ordered)
    below = int(stats.binom.ppf((1 - confidence) / 2, n, 0.5))
    lowest = max(below - 1, 0)
    return float(ordered[lowest]), float(ordered[n - 1 - lowest])


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
        low, high = median_interval(_ratios(samples, times[reference]))
        apart = high < 1 - margin or low > 1 + margin
        equal = low > 1 - margin and high < 1 + margin
        if not (apart or equal):
            return False
    return True


def _ratios(samples: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Ratios of the same rounds; a clock that stood still gives 1."""
    pairs = zip(samples, reference, strict=True)
    return [own / other if other > 0 else 1.0 for own, other in pairs]


def _latency(samples: Sequence[float], reference: Sequence[float]) -> Latency:
    ratios = _ratios(samples, reference)
    low, high = median_interval(ratios)
    return Latency(float(np.median(samples)), float(np.median(ratios)), low, high, len(samples))
