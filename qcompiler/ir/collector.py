"""Python's cyclic garbage collector and large graphs, which are all cycles and no garbage."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATIONS = 2_000_000
"""Container objects between collections: about 100 000 nodes. CPython's own value is 700."""


class _Blocks:
    """The blocks of all threads that want rare collections."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As in a forked process: the other threads' blocks never end there."""
        self._lock = threading.Lock()
        self._open = 0
        self._before = gc.get_threshold()

    def enter(self) -> None:
        with self._lock:
            if self._open == 0:
                self._before = gc.get_threshold()
                self._thin_out()
            self._open += 1

    def leave(self) -> None:
        with self._lock:
            self._open = max(0, self._open - 1)
            if self._open == 0:
                gc.set_threshold(*self._before)

    def _thin_out(self) -> None:
        gc.set_threshold(max(_ALLOCATIONS, self._before[0]), 50, 1000)

    def pause(self) -> None:
        with self._lock:
            if self._open:
                gc.set_threshold(*self._before)

    def resume(self) -> None:
        with self._lock:
            if self._open:
                self._thin_out()

    def forked(self) -> None:
        before, inside = self._before, self._open > 0
        self.reset()
        if inside:
            self._before = before
            gc.set_threshold(*before)


_BLOCKS = _Blocks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_BLOCKS.forked)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Lets the collector run rarely while a graph is built or rewritten.

    It would scan all live nodes again and again and find nothing: more than half of the time from
    20 000 nodes on. It still runs, so garbage of the caller's data does not pile up. Blocks of
    several threads may overlap: the last one to end puts back what was there before the first.
    """
    _BLOCKS.enter()
    try:
        yield
    finally:
        _BLOCKS.leave()


@contextmanager
def usual_collections() -> Iterator[None]:
    """Lets the collector run as outside, while the caller's own code runs inside such a block.

    A data loader may make garbage that holds a sample with every few dozen objects.
    """
    _BLOCKS.pause()
    try:
        yield
    finally:
        _BLOCKS.resume()
