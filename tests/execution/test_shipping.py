"""One payload, many tasks: order, one build per process, and a pool that dies."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from pathlib import Path
from typing import Any

import pytest

from qcompiler.execution.shipping import Crew, Shipment, shipped

BUILT: list[int] = []
Numbers = tuple[int, ...]


def total(payload: Numbers) -> int:
    BUILT.append(len(payload))
    return sum(payload)


def scaled(shipment: Shipment[Numbers], factor: int) -> int:
    return factor * shipment.resident(total)


class Dying(Executor):
    """Breaks after a few tasks, as a process pool does."""

    def __init__(self, tasks: int) -> None:
        self.left = tasks

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        self.left -= 1
        if self.left < 0:
            done.set_exception(BrokenExecutor("a worker died"))
        else:
            done.set_result(fn(*args, **kwargs))
        return done


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(3), Dying(0), Dying(2)])
def test_results_come_in_order_from_one_build(executor: Executor | None) -> None:
    BUILT.clear()
    with Crew[Numbers]((1, 2, 3), "digest", executor) as crew:
        assert crew.map(scaled, range(5)) == [0, 6, 12, 18, 24]
        assert crew.map(scaled, [7]) == [42]
    dies_midway = isinstance(executor, Dying) and len(BUILT) == 2
    assert BUILT == [3, 3] if dies_midway else BUILT == [3]


def slow(shipment: Shipment[Numbers], seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_what_is_not_done_in_time_is_left_out() -> None:
    with ThreadPoolExecutor(2) as pool, Crew[Numbers]((1,), "digest", pool) as crew:
        assert crew.map_within(slow, [0.0, 0.5], 0.1) == [0.0, None]
        assert crew.map_within(slow, [0.0, 0.01], None) == [0.0, 0.01]


def test_what_was_built_goes_with_the_crew() -> None:
    BUILT.clear()
    for _ in range(2):
        with Crew[Numbers]((4,), "digest") as crew:
            assert crew.map(scaled, [1]) == [4]
    assert BUILT == [1, 1]


def test_another_payload_takes_the_place_of_the_last() -> None:
    BUILT.clear()
    first, second = Shipment[Numbers]((1,), "first"), Shipment[Numbers]((1, 1), "second")
    assert [scaled(each, 1) for each in (first, first, second, first)] == [1, 1, 2, 1]
    assert BUILT == [1, 2, 1]
    first.forget()


def test_process_pools_of_this_machine_read_a_file() -> None:
    """A task then carries a path, whatever the payload weighs."""
    payload = tuple(range(10_000))
    with ProcessPoolExecutor(1) as pool, shipped(payload, "digest", pool) as shipment:
        assert isinstance(shipment.content, Path)
        assert len(pickle.dumps(shipment)) < 1000
        assert shipment.unpack() == payload
        folder = shipment.content.parent
    assert not folder.exists()
    with shipped(payload, "digest", None) as shipment:
        assert shipment.content is payload
        assert str(os.getpid()) in shipment.key
