"""One core for every thread of an engine, while something else runs on the machine.

With a neighbour on one of two cores, the scheduler may keep both threads of a run on the other one
for as long as the process lives: every core is busy, and no move would be an improvement. Then
every sample is that of one thread, agrees with the others, and is wrong (6.0x was told of a network
that takes 4.3x, in ten compilations in a row). Threads that are bound to cores of their own share
one with the neighbour, who has it half of the time only: the quickest runs are quiet ones.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")
_TAKEN = threading.Lock()
"""Held while threads are bound: a second one would take their masks for those to come back to."""


@contextmanager
def spread() -> Iterator[None]:
    """Binds this thread to a core, and the others in turn to the remaining ones.

    The workers of a session are made one after the other and are as many as there are other cores,
    so each of them gets its own. Masks are as before afterwards. Nothing happens on one core, on
    systems that cannot bind threads, and while another thread has them spread.
    """
    if not hasattr(os, "sched_setaffinity") or not _TAKEN.acquire(blocking=False):
        yield
        return
    try:
        with _spread():
            yield
    finally:
        _TAKEN.release()


@contextmanager
def _spread() -> Iterator[None]:
    me = threading.get_native_id()
    allowed = os.sched_getaffinity(me)
    own, *others = sorted(allowed)
    if not others:
        yield
        return
    before = {task: _mask(task) for task in _tasks()}
    try:
        workers = [task for task in before if task != me]
        for number, task in enumerate(workers):
            _bind(task, {others[number % len(others)]})
        _bind(me, {own})
        yield
    finally:
        _let_go(before, allowed)


def _let_go(before: Mapping[int, set[int]], allowed: set[int]) -> None:
    """Gives all threads their masks back, also if Ctrl-C comes in between."""
    try:
        for task in _tasks():  # one that was made meanwhile has the mask of its maker
            _bind(task, before.get(task) or allowed)
    except KeyboardInterrupt:
        _let_go(before, allowed)
        raise


def _tasks() -> list[int]:
    """Threads of this process, in the order they were made."""
    try:
        return sorted(int(each.name) for each in _TASKS.iterdir())
    except OSError:
        return []


def _mask(task: int) -> set[int]:
    """Cores of a thread; none if it has ended."""
    with suppress(OSError):
        return os.sched_getaffinity(task)
    return set()


def _bind(task: int, cores: set[int]) -> None:
    """Binds a thread that may have ended, or may be none of ours to move."""
    with suppress(OSError):
        os.sched_setaffinity(task, cores)
