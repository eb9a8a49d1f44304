"""The demo's clock: calls per side, order of turns, and the ratio, on a made-up clock."""

from __future__ import annotations

import time

import pytest

from examples import timing


class Clock:
    """Time that passes only when a side is called."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def side(self, name: str, seconds: float) -> None:
        self.calls.append(name)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


def test_ratio_is_how_much_faster_the_second_side_is(clock: Clock) -> None:
    found = timing.compare(lambda: clock.side("a", 4.0), lambda: clock.side("b", 2.0), rounds=3)
    assert (found.first, found.second, found.ratio) == (4.0, 2.0, 2.0)


def test_sides_swap_turns_after_a_warm_up(clock: Clock) -> None:
    timing.compare(lambda: clock.side("a", 1.0), lambda: clock.side("b", 1.0), rounds=2, calls=1)
    assert "".join(clock.calls) == "ab" + "ab" + "ba"


def test_drift_cancels_in_the_ratio(clock: Clock) -> None:
    def drifting(share: float) -> None:
        clock.side("x", share * (1.0 + clock.now / 1e4))

    found = timing.compare(lambda: drifting(3.0), lambda: drifting(1.0), rounds=40, calls=1)
    # The clock slows by about 1 % over the run; within one round by at most 4e-4.
    assert found.ratio == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize(("rounds", "calls"), [(0, 1), (1, 0)])
def test_nothing_to_measure_is_an_error(rounds: int, calls: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        timing.compare(lambda: None, lambda: None, rounds=rounds, calls=calls)
