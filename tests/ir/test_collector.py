"""The garbage collector's thresholds come back, whatever overlaps."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest

from qcompiler.ir.collector import rare_collections, usual_collections


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.set_threshold(701, 11, 12)
    yield (701, 11, 12)
    gc.set_threshold(*before)


def test_blocks_of_two_threads_that_overlap(thresholds: tuple[int, int, int]) -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with rare_collections():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with rare_collections():
        thread.start()
        assert inside.wait(10)
        assert gc.get_threshold()[0] > 100_000
    assert gc.get_threshold()[0] > 100_000, "the other block is open"
    leave.set()
    thread.join()
    assert gc.get_threshold() == thresholds


def test_nested_blocks_and_errors(thresholds: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="out"), rare_collections(), rare_collections():
        raise ValueError("out")
    assert gc.get_threshold() == thresholds


def test_a_process_forked_inside_is_as_before(thresholds: tuple[int, int, int]) -> None:
    with rare_collections():
        pid = os.fork()
        if pid == 0:
            os._exit(0 if gc.get_threshold() == thresholds else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert gc.get_threshold()[0] > 100_000


def test_the_callers_own_code_is_collected_as_usual(thresholds: tuple[int, int, int]) -> None:
    with usual_collections():
        assert gc.get_threshold() == thresholds
    with rare_collections():
        with usual_collections():
            assert gc.get_threshold() == thresholds
        assert gc.get_threshold()[0] > 100_000
    assert gc.get_threshold() == thresholds
