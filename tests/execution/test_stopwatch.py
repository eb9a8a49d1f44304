"""Seconds of work, on clocks that say what they are told to."""

from __future__ import annotations

import time

import pytest

from qcompiler.execution.stopwatch import Stopwatch
from qcompiler.search.state import Clock, Limits


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the clock on the wall and that of the processor say."""
    said = {"monotonic": 100.0, "process_time": 7.0}
    for name in said:
        monkeypatch.setattr(time, name, lambda name=name: said[name])
    return said


def test_waiting_for_a_core_is_no_work(clocks: dict[str, float]) -> None:
    watch = Stopwatch()
    clocks.update(monotonic=110.0, process_time=8.0)
    assert watch() == 1.0


def test_two_threads_do_not_make_it_go_faster(clocks: dict[str, float]) -> None:
    watch = Stopwatch()
    clocks.update(monotonic=110.0, process_time=27.0)
    assert watch() == 10.0


@pytest.mark.parametrize(
    ("budget", "alone", "left"), [(None, True, 19.0), (None, False, 10.0), (20.0, True, 10.0)]
)
def test_a_recipes_time_is_work_a_users_budget_is_not(
    clocks: dict[str, float], budget: float | None, alone: bool, left: float
) -> None:
    """Nor is it where others work, whose time is not seen."""
    clock = Clock.of(budget, 20.0, alone=alone)
    limits = Limits(0.1, clock.deadline, now=clock.now)
    clocks.update(monotonic=110.0, process_time=8.0)
    assert clock.left() == limits.left == left
    assert not limits.expired
    clocks.update(monotonic=130.0, process_time=28.0)
    assert limits.expired
