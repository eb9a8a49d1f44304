"""Threads on cores of their own: which goes where, and that masks come back."""

from __future__ import annotations

import os
import threading

import pytest

from qcompiler.execution import spreading
from qcompiler.execution.spreading import spread

Masks = dict[int, set[int]]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Masks:
    """Four cores; this thread and seven others, one of which ends when it is to be bound."""
    me = threading.get_native_id()
    masks = {me + number: {0, 1, 2, 3} for number in range(8)}

    def bind(task: int, cores: set[int]) -> None:
        if task == me + 7:
            raise ProcessLookupError
        masks[task] = set(cores)

    monkeypatch.setattr(spreading, "_tasks", lambda: sorted(masks))
    monkeypatch.setattr(os, "sched_getaffinity", lambda task: masks[task], raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", bind, raising=False)
    return masks


def test_workers_of_a_pool_get_different_cores_and_none_this_threads(machine: Masks) -> None:
    me = threading.get_native_id()
    with spread():
        cores = [machine[me + number] for number in range(7)]
    assert cores == [{0}, {1}, {2}, {3}, {1}, {2}, {3}]
    assert all(each == {0, 1, 2, 3} for each in machine.values())


def test_threads_made_meanwhile_are_let_go(machine: Masks) -> None:
    me = threading.get_native_id()
    with spread():
        machine[me + 9] = set(machine[me])  # as its maker
    assert machine[me + 9] == {0, 1, 2, 3}


def test_masks_come_back_after_an_error(machine: Masks) -> None:
    with pytest.raises(KeyboardInterrupt), spread():
        raise KeyboardInterrupt
    assert all(each == {0, 1, 2, 3} for each in machine.values())


def test_masks_come_back_if_that_is_interrupted(
    machine: Masks, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind, interrupts = os.sched_setaffinity, [KeyboardInterrupt()]

    def interrupted(task: int, cores: set[int]) -> None:
        if len(cores) == 4 and interrupts:
            raise interrupts.pop()
        bind(task, cores)

    monkeypatch.setattr(os, "sched_setaffinity", interrupted)
    with pytest.raises(KeyboardInterrupt), spread():
        pass
    assert not interrupts
    assert all(each == {0, 1, 2, 3} for each in machine.values())


def test_spreads_that_overlap_leave_nothing_bound(machine: Masks) -> None:
    me, first, second = threading.get_native_id(), spread(), spread()
    first.__enter__()
    machine[me] = {0, 1, 2, 3}  # another thread, which is not bound yet
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert all(each == {0, 1, 2, 3} for each in machine.values())
    with spread():
        assert machine[me] == {0}


def test_one_core_is_left_alone(machine: Masks) -> None:
    me = threading.get_native_id()
    machine[me] = {2}
    with spread():
        assert machine[me] == {2}
        assert machine[me + 1] == {0, 1, 2, 3}


def test_systems_that_cannot_bind(machine: Masks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    with spread():
        assert not spreading._TAKEN.locked()
    assert all(each == {0, 1, 2, 3} for each in machine.values())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux")
def test_on_this_machine() -> None:
    before = os.sched_getaffinity(0)
    with spread():
        assert len(os.sched_getaffinity(0)) == 1 or len(before) == 1
    assert os.sched_getaffinity(0) == before
