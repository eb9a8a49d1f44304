"""compare_latency on clocks we control: ratios, noise, early stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from qcompiler.errors import ConfigurationError
from qcompiler.execution.ratio import columns, ratio
from qcompiler.execution.timing import Latency, compare_latency


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
    # The least of two runs in a round, of which one in twenty is below: 0.025 of all runs.
    assert timed["int8"].seconds == pytest.approx(0.005 * np.exp(-1.96 * 0.3), rel=0.2)
    assert timed["int8"].ratio == timed["int8"].seconds / timed["float"].seconds
    assert timed["int8"].chance == 1.0


def test_clear_cases_stop_early_and_close_ones_do_not() -> None:
    clock = Clock()
    clear = compare_latency({"a": clock.job(0.01), "b": clock.job(0.02)}, 100.0, clock=clock)
    assert clear["b"].rounds == 11
    assert clear["b"].slower
    clock = Clock()
    close = compare_latency(
        {"a": clock.job(0.01, 0.3), "b": clock.job(0.01, 0.3)}, 3.0, clock=clock
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


def test_parts_of_a_candidate_are_timed_apart_and_added() -> None:
    clock = Clock()
    halves = [clock.job(0.004), clock.job(0.001)]
    timed = compare_latency({"a": [clock.job(0.01)], "b": halves}, 0.5, clock=clock)
    assert timed["b"].seconds == pytest.approx(0.005)
    assert timed["b"].ratio == pytest.approx(0.5)


def test_interval_covers_the_ratio_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        own, other = (columns(np.exp(0.2 * rng.standard_normal(60)).tolist()) for _ in range(2))
        found = ratio(2 * own, other)
        hits += found.low <= 2 <= found.high
    assert hits >= 0.95 * 200


def test_a_stall_of_one_contender_does_not_make_the_other_fast() -> None:
    clock = Clock()

    def stalling() -> None:
        clock.now += 0.005 if clock.calls % 2 else 0.1
        clock.calls += 1

    timed = compare_latency({"float": stalling, "int8": clock.job(0.005)}, 0.3, 21, clock=clock)
    assert timed["int8"].ratio == pytest.approx(1.0, rel=0.01)


def test_a_wide_interval_is_told_instead_of_the_ratio() -> None:
    narrow = Latency(1.0, 0.5, 0.49, 0.51, 11)
    assert narrow.speed == "2.00x"
    assert narrow.evidence == "0.5 of the time, 0.49 to 0.51 with 95 % in 11 rounds"
    wide = narrow.including(0.8)
    assert wide.speed == "machine busy: 1.25x to 2.04x"
    assert wide.evidence == "0.49 to 0.8 of the time with 95 % in 11 rounds"
    assert Latency(1.0, 0.5, 0.5, 0.5, 0).evidence == "0.5 of the time"


def test_how_sure_it_is_that_it_is_not_slower() -> None:
    sure = Latency(1.0, 0.5, 0.49, 0.51, 11, chance=1.0)
    assert sure.certainty == "not slower, by 100 of 100 resamples"
    torn = Latency(1.0, 1.01, 0.97, 1.06, 11, chance=0.42, waiting=0.3)
    assert torn.certainty.startswith("not slower, by 42 of 100 resamples; other programs ran")
    assert "waited 30 %" in torn.certainty
    assert Latency(1.0, 0.5, 0.5, 0.5, 0).certainty == ""  # a model's, of no rounds


def test_waiting_for_cores_in_every_round_is_told() -> None:
    clock = Clock()
    runs = {"a": clock.job(0.01), "b": clock.job(0.005)}
    idle = compare_latency(runs, 0.2, clock=clock, waited=lambda: 0.0)["b"]
    assert not idle.is_crowded
    busy = compare_latency(runs, 0.2, clock=clock, waited=lambda: 0.3 * clock.now)["b"]
    assert busy.waiting == pytest.approx(0.3)
    assert busy.is_crowded


def test_waiting_in_some_rounds_is_not_being_crowded() -> None:
    clock = Clock()
    runs = {"a": clock.job(0.01), "b": clock.job(0.005)}
    spell = compare_latency(runs, 2.0, 60, clock=clock, waited=lambda: max(0.0, clock.now - 1.0))
    assert spell["b"].waiting == 0.0


@pytest.mark.parametrize(("share", "expected"), [(0.5, 4), (0.0, 0)])
def test_threads_are_bound_in_every_other_round_while_they_wait(
    share: float, expected: int
) -> None:
    """What the scheduler keeps on one core is timed both ways; a quiet machine's never is."""
    clock = Clock()
    bound: list[float] = []

    @contextmanager
    def apart() -> Iterator[None]:
        bound.append(clock.now)
        yield

    compare_latency(
        {"a": clock.job(0.01), "b": clock.job(0.02)},
        0.0,
        9,
        clock=clock,
        waited=lambda: share * clock.now,
        apart=apart,
    )
    assert len(bound) == expected


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigurationError, match="no candidate"):
        compare_latency({"a": lambda: None}, baseline="b")
    with pytest.raises(ConfigurationError, match="no candidate"):
        compare_latency({})
    with pytest.raises(ConfigurationError, match="min_rounds"):
        compare_latency({"a": lambda: None}, min_rounds=0)
