"""compare_latency on clocks we control: ratios, noise, early stop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from qcompiler.errors import ConfigurationError
from qcompiler.execution.timing import compare_latency, median_interval


class Clock:
    """A clock that only runs move; `slow` scales it from time to time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls = 0
        self.rng = np.random.default_rng(1)

    def __call__(self) -> float:
        return self.now

    def job(self, seconds: float, noise: float = 0.0) -> Callable[[], None]:
        def run() -> None:
            self.calls += 1
            self.now += seconds * float(np.exp(noise * self.rng.standard_normal()))

        return run


def test_ratio_of_a_noisy_pair() -> None:
    clock = Clock()
    runs = {"float": clock.job(0.010, 0.3), "int8": clock.job(0.005, 0.3)}
    timed = compare_latency(runs, 3.0, clock=clock)
    assert timed["float"].ratio == 1.0
    assert timed["int8"].low <= 0.5 <= timed["int8"].high
    assert timed["int8"].faster
    assert not timed["int8"].slower
    assert timed["int8"].median == pytest.approx(0.005, rel=0.3)


def test_clear_cases_stop_early_and_close_ones_do_not() -> None:
    clock = Clock()
    clear = compare_latency({"a": clock.job(0.01), "b": clock.job(0.02)}, 100.0, clock=clock)
    assert clear["b"].rounds == 11
    assert clear["b"].slower
    clock = Clock()
    close = compare_latency(
        {"a": clock.job(0.01, 0.2), "b": clock.job(0.01, 0.2)}, 3.0, clock=clock
    )
    assert close["b"].rounds > 50
    assert clock.now < 3.5


def test_a_slow_spell_hits_both() -> None:
    clock = Clock()

    def spell(seconds: float) -> Callable[[], None]:
        def run() -> None:
            clock.now += seconds * (10 if 0.2 < clock.now < 2.0 else 1)

        return run

    timed = compare_latency({"a": spell(0.01), "b": spell(0.02)}, 4.0, 30, clock=clock)
    assert timed["b"].ratio == pytest.approx(2.0, rel=0.01)


def test_short_runs_are_repeated_within_a_sample() -> None:
    clock = Clock()
    compare_latency({"a": clock.job(1e-5), "b": clock.job(2e-5)}, 0.01, 1, clock=clock)
    assert clock.calls >= 150  # 1 ms / 10 µs + 1 ms / 20 µs


def test_interval_covers_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for n in (11, 40):
        hits = 0
        for _ in range(500):
            low, high = median_interval(list(rng.exponential(size=n)))
            hits += low <= np.log(2) <= high
        # One-sided 1e-4 bound on a binomial with 500 draws at the nominal 95 %.
        assert hits >= stats.binom.ppf(1e-4, 500, 0.95)


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigurationError, match="no candidate"):
        compare_latency({"a": lambda: None}, baseline="b")
    with pytest.raises(ConfigurationError, match="no candidate"):
        compare_latency({})
    with pytest.raises(ConfigurationError, match="min_rounds"):
        compare_latency({"a": lambda: None}, min_rounds=0)
