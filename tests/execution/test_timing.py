"""compare_latency on clocks we control: ratios, noise, early stop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from qcompiler.errors import ConfigurationError
from qcompiler.execution.timing import Latency, compare_latency, ratio_interval


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
    assert timed["int8"].seconds == pytest.approx(0.005 * np.exp(-0.6745 * 0.3), rel=0.2)
    assert timed["int8"].ratio == timed["int8"].seconds / timed["float"].seconds


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


def test_interval_covers_the_ratio_nearly_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        own, other = (np.exp(0.2 * rng.standard_normal(60)) for _ in range(2))
        low, high = ratio_interval(list(2 * own), list(other))
        hits += low <= 2 <= high
    # A percentile bootstrap of a quantile covers a little less than its 95 %.
    assert hits >= 0.85 * 300


def test_a_stall_of_one_contender_does_not_make_the_other_fast() -> None:
    clock = Clock()

    def stalling() -> None:
        clock.now += 0.005 if clock.calls % 2 else 0.1
        clock.calls += 1

    timed = compare_latency({"float": stalling, "int8": clock.job(0.005)}, 0.3, 21, clock=clock)
    assert timed["int8"].ratio == pytest.approx(1.0, rel=0.01)


def test_speed_is_told_with_its_interval_where_that_is_wide() -> None:
    assert Latency(1.0, 0.5, 0.49, 0.51, 11).speed == "2.00x"
    wide = Latency(1.0, 0.5, 0.4, 0.6, 11).speed
    assert wide == "2.00x (machine busy: 1.67x to 2.50x)"


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigurationError, match="no candidate"):
        compare_latency({"a": lambda: None}, baseline="b")
    with pytest.raises(ConfigurationError, match="no candidate"):
        compare_latency({})
    with pytest.raises(ConfigurationError, match="min_rounds"):
        compare_latency({"a": lambda: None}, min_rounds=0)
