"""Workers of limited time: what they compute counts, not what they wait for."""

from __future__ import annotations

import os
import time

from benchmarks.isolation import in_workers

SECONDS = 0.3
SLEEPING, SPINNING, ENDING, WORKING = range(4)


def _work(number: int) -> str:
    if number == SLEEPING:
        time.sleep(3 * SECONDS)
    if number == ENDING:
        os._exit(3)
    while number == SPINNING:
        pass
    return f"did {number}"


def _died(number: int, how: str) -> str:
    return f"{number}: {how}"


def test_only_computing_is_limited() -> None:
    numbers = (SLEEPING, SPINNING, ENDING, WORKING)
    assert list(in_workers(_work, numbers, _died, seconds=SECONDS)) == [
        f"did {SLEEPING}",
        f"{SPINNING}: no end after {SECONDS:g} s",
        f"{ENDING}: exit code 3",
        f"did {WORKING}",
    ]


def test_one_that_never_wakes_is_ended() -> None:
    found = in_workers(lambda number: time.sleep(60 + number), [0], _died, seconds=0.05)
    assert list(found) == ["0: no end after 0.05 s"]
