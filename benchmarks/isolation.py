"""Work in processes of limited time and memory, so that a death is a result like any other."""

from __future__ import annotations

import math
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")

MOST_BYTES = 6 << 30
"""Address space of a worker; a model that needs more is one that never ends."""
_ASLEEP = 10
"""How many times its seconds a worker may take by the clock: one that sleeps computes nothing."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    at: int = -1
    since: float = 0.0
    spent: float = 0.0

    def begin(self, number: int) -> None:
        """Notes what it works at from now on, -1 for nothing."""
        self.at, self.since, self.spent = number, time.monotonic(), self._computed()

    def is_late(self, seconds: float) -> bool:
        """Whether it has computed for so long: by the clock, neighbours would decide."""
        asleep = time.monotonic() - self.since > _ASLEEP * seconds
        return asleep or self._computed() - self.spent > seconds

    def _computed(self) -> float:
        """Processor time in seconds, with that of ended children; infinity once it is gone."""
        try:
            text = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        except FileNotFoundError:
            return math.inf
        fields = text.rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS


def in_workers(
    work: Callable[[int], R],
    numbers: Iterable[int],
    died: Callable[[int, str], R],
    *,
    seconds: float = 60.0,
    jobs: int = 1,
) -> Iterator[R]:
    """The results of `work`, in the order in which they are done.

    Args:
        work: Called with each number in a forked worker; its result is sent back by pickle.
        numbers: Not negative; taken one by one as workers are free.
        died: The result for a number whose worker ended or was stopped, and how.
        seconds: Work that computes for longer is stopped.
        jobs: Worker processes.
    """
    todo = iter(numbers)
    workers = [_hired(work) for _ in range(jobs)]
    for worker in workers:
        _give(worker, todo)
    while busy := [worker for worker in workers if worker.at >= 0]:
        ready = wait([worker.pipe for worker in busy], timeout=1.0)
        for worker in busy:
            late = worker.is_late(seconds)
            if worker.pipe not in ready and not late:
                continue
            try:
                if worker.pipe not in ready:
                    raise TimeoutError(f"no end after {seconds:g} s")
                yield worker.pipe.recv()
            except (EOFError, TimeoutError) as end:
                how, number = _end(worker, str(end)), worker.at
                fresh = _hired(work)
                worker.process, worker.pipe = fresh.process, fresh.pipe
                yield died(number, how)
            _give(worker, todo)
    for worker in workers:
        worker.pipe.send(-1)  # closing would not do: later workers hold copies of this end
        worker.process.join()


def _end(worker: _Worker, why: str) -> str:
    """Ends a worker that was stopped for a reason, or takes the exit code of one that ended."""
    if why:
        worker.process.kill()
    worker.process.join()
    return why or f"exit code {worker.process.exitcode}"


def _hired(work: Callable[[int], R]) -> _Worker:
    context = get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _give(worker: _Worker, todo: Iterator[int]) -> None:
    worker.begin(next(todo, -1))
    if worker.at >= 0:
        worker.pipe.send(worker.at)


def _serve(pipe: Connection, work: Callable[[int], R]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    while (number := pipe.recv()) >= 0:
        pipe.send(work(number))


def with_bytecode(folder: str) -> dict[str, str]:
    """The environment in which modules are not compiled anew in every process."""
    kept = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": folder}
