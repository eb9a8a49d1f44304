"""compare_latency among neighbours: simulated noise on a simulated clock, so nothing is timed.

The oracle is the simulation's own truth: what a run takes when nobody else runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from qcompiler.execution import ratio as estimator
from qcompiler.execution.timing import Latency, compare_latency

TRIALS = 40
SURE = 0.95
CLOSE = 0.15


@dataclass
class Machine:
    """A clock that runs move, by more while a neighbour is busy.

    Quiet and busy spells follow one another; both last for exponential times. In a busy one
    everything takes 1.5 to 4 times as long.
    """

    rng: np.random.Generator
    quiet: float
    busy: float
    now: float = 0.0
    until: float = 0.0
    factor: float = 1.5

    def __call__(self) -> float:
        return self.now

    def run(self, seconds: float) -> Callable[[], None]:
        def go() -> None:
            left = seconds
            while left > 0:
                if self.now >= self.until:
                    self.switch()
                done = min(left, (self.until - self.now) / self.factor)
                left -= done
                self.now += max(done * self.factor, 1e-12)

        return go

    def switch(self) -> None:
        was_quiet = self.factor == 1.0
        self.factor = self.rng.uniform(1.5, 4.0) if was_quiet else 1.0
        self.until = self.now + self.rng.exponential(self.busy if was_quiet else self.quiet)


SPELLS = [(0.05, 0.05), (0.02, 0.08), (0.5, 0.5), (0.3, 1.0)]


def trials(own: float, quiet: float, busy: float, base: float = 0.01) -> list[Latency]:
    found = []
    for seed in range(TRIALS):
        machine = Machine(np.random.default_rng(seed), quiet, busy)
        runs = {"float": machine.run(base), "int8": machine.run(own)}
        found.append(compare_latency(runs, 1.5, 7, clock=machine, waited=lambda: 0.0)["int8"])
    return found


def share(hits: list[bool]) -> float:
    return float(np.mean(hits))


@pytest.mark.parametrize(("quiet", "busy"), SPELLS)
def test_ratio_is_right_among_neighbours(quiet: float, busy: float) -> None:
    found = trials(0.005, quiet, busy)
    assert share([abs(each.ratio / 0.5 - 1) <= CLOSE for each in found]) >= SURE
    assert share([each.faster for each in found]) >= SURE
    assert share([each.low <= 0.5 * 1.01 and each.high >= 0.5 * 0.99 for each in found]) >= SURE


@pytest.mark.parametrize("base", [0.0005, 0.01, 0.05])
@pytest.mark.parametrize(("quiet", "busy"), [*SPELLS, (0.005, 0.02)])
def test_no_ratio_is_printed_that_is_off(base: float, quiet: float, busy: float) -> None:
    """Where runs are longer than quiet spells, only an interval can be told."""
    found = trials(0.6 * base, quiet, busy, base)
    printed = [each.is_wide or abs(each.ratio / 0.6 - 1) <= CLOSE for each in found]
    assert share(printed) >= SURE
    assert all("busy" in each.speed for each in found if each.is_wide)


@pytest.mark.parametrize("own", [0.009, 0.0095, 0.0105, 0.011])
def test_claims_of_faster_and_slower_are_right(own: float) -> None:
    for quiet, busy in SPELLS:
        found = trials(own, quiet, busy)
        wrong = [each.faster if own > 0.01 else each.slower for each in found]
        assert share(wrong) <= 1 - SURE


def test_medians_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the middle of the samples is the neighbours' doing."""
    monkeypatch.setattr(estimator, "QUANTILE", 0.5)
    found = trials(0.005, 0.02, 0.08)
    assert share([abs(each.ratio / 0.5 - 1) <= CLOSE for each in found]) < SURE


def test_drawing_all_rounds_would_be_too_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the interval: the ordinary bootstrap, on runs longer than quiet spells."""

    def plain(rounds: int) -> np.ndarray:
        return np.random.default_rng(0).integers(0, rounds, (200, rounds))

    monkeypatch.setattr(estimator, "_draws", plain)
    found = trials(0.03, 0.005, 0.02, 0.05)
    assert share([each.low <= 0.6 * 1.01 and each.high >= 0.6 * 0.99 for each in found]) < SURE
