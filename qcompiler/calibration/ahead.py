"""Runs ahead: the engine computes the next feeds while what it gave for one is taken in.

Two runs at a time, each on half of the cores, take three quarters of the time of one after the
other on all of them: small kernels do not fill several cores, and between runs all but one idle.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")

WORKERS = 2
"""Runs at the same time; each holds the activations of its feed."""


@dataclass(frozen=True, eq=False)
class Work(Generic[R]):
    """A run and what becomes of it.

    Attributes:
        run: Computes; called in any thread.
        take: Takes the result in; called in the caller's thread, in order.
        nbytes: Size of the result, as far as it is large.
    """

    run: Callable[[], R]
    take: Callable[[R], None]
    nbytes: int = 0


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def done_ahead(works: Iterable[Work[R]], workers: int, cap: int) -> None:
    """Does works in order; they are drawn in this thread while earlier ones run.

    Args:
        works: Drawn as late as possible: one more than there are workers is under way.
        workers: Works that run at the same time; 1 runs each where it is drawn.
        cap: Bytes of results that may be alive at once; a single larger one is alive alone.

    Raises:
        Exception: What a run raises, in the place of its result.
    """
    if workers < 2:
        for work in works:
            work.take(work.run())
        return
    waiting: deque[tuple[Work[R], Future[R]]] = deque()
    with ThreadPoolExecutor(workers, "qcompiler-calibration") as pool:
        try:
            for work in works:
                while waiting and _alive(waiting) + work.nbytes > cap:
                    _take_first(waiting)
                waiting.append((work, pool.submit(work.run)))
                if len(waiting) > workers:
                    _take_first(waiting)
            while waiting:
                _take_first(waiting)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _alive(waiting: Iterable[tuple[Work[R], Future[R]]]) -> int:
    return sum(work.nbytes for work, _ in waiting)


def _take_first(waiting: deque[tuple[Work[R], Future[R]]]) -> None:
    work, future = waiting.popleft()
    work.take(future.result())
