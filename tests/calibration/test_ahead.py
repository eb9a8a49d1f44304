"""Runs that are under way together: taken in order, under a cap, errors in their place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from qcompiler.calibration.ahead import Work, done_ahead
from qcompiler.calibration.instrument import float_model
from qcompiler.calibration.recorder import Recorder
from qcompiler.calibration.run import run_calibration
from qcompiler.calibration.sites import find_sites
from qcompiler.ir.text import from_text
from qcompiler.passes.insert_observers import InsertObservers
from qcompiler.pipeline.contract import PassContext

WAIT = 30.0


def test_two_run_at_the_same_time_and_are_taken_in_order() -> None:
    """Every run waits for its neighbour: one after the other, they would never end."""
    pairs = [threading.Barrier(2, timeout=WAIT) for _ in range(3)]
    taken: list[int] = []

    def run(number: int) -> int:
        pairs[number // 2].wait()
        return number

    def works() -> Iterator[Work[int]]:
        for number in range(6):
            yield Work(partial(run, number), taken.append)

    done_ahead(works(), 2, cap=0)
    assert taken == list(range(6))


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 3)])
def test_works_are_drawn_as_late_as_possible(workers: int, ahead: int) -> None:
    taken: list[int] = []
    most = 0

    def works() -> Iterator[Work[int]]:
        nonlocal most
        for number in range(20):
            most = max(most, number + 1 - len(taken))
            yield Work(partial(int, number), taken.append)

    done_ahead(works(), workers, cap=0)
    assert taken == list(range(20))
    assert most == ahead


@pytest.mark.parametrize(("nbytes", "most"), [(0, 2), (40, 2), (60, 1), (1000, 1)])
def test_results_stay_under_the_cap(nbytes: int, most: int) -> None:
    """What is begun counts as alive, here when the next is drawn."""
    begun = found = 0

    def take(_: None) -> None:
        nonlocal begun
        begun -= 1

    def works() -> Iterator[Work[None]]:
        nonlocal begun, found
        for _ in range(12):
            yield Work(lambda: None, take, nbytes)
            begun += 1
            found = max(found, begun)

    done_ahead(works(), 2, cap=100)
    assert (begun, found) == (0, most)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_in_its_place_and_nothing_runs_behind_it(workers: int) -> None:
    taken: list[int] = []
    drawn: list[int] = []

    def run(number: int) -> int:
        if number == 3:
            raise ValueError("the third")
        return number

    def works() -> Iterator[Work[int]]:
        for number in range(20):
            drawn.append(number)
            yield Work(partial(run, number), taken.append)

    with pytest.raises(ValueError, match="the third"):
        done_ahead(works(), workers, cap=0)
    assert taken == [0, 1, 2]
    assert len(drawn) <= 6


def test_a_generator_may_fill_one_array_again_and_again() -> None:
    program = from_text("""<ir_version: 10, opset_import: ["" : 21]>
g (float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }""")
    InsertObservers(method="minmax").run(program, PassContext())
    room = np.empty((2, 3), np.float32)

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        for number in range(50):
            room[:] = -number if number % 2 else number
            yield {"x": room}

    model = float_model(program, find_sites(program))
    seen = run_calibration(model, program.signature, feeds()).observations["x"]
    expected = [n * (-1) ** n for n in range(50) for _ in range(6)]
    assert seen.count == len(expected)
    assert (seen.low, seen.high) == (min(expected), max(expected))


def test_what_is_fetched_out_of_doubt_counts_for_the_cap() -> None:
    """Extremes do not say all where something is not finite: the values themselves come along."""
    program = from_text("""<ir_version: 10, opset_import: ["" : 21]>
g (float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }""")
    InsertObservers(method="minmax").run(program, PassContext())
    recorder = Recorder(float_model(program, find_sites(program)), threads=1)
    feed = {"x": np.full((2, 3), -np.inf, np.float32)}
    sizes = []
    for _ in range(2):
        for work in recorder.works(feed):
            sizes.append(work.nbytes)
            work.take(work.run())
    assert sizes == [0, 4 * feed["x"].size]
