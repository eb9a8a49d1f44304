"""One large payload and many small tasks on it, here or on any `concurrent.futures.Executor`.

Tasks are module-level functions of a `Shipment` and an item. They are deterministic, so results do
not depend on where they run, how many workers there are, or whether one died on the way.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from qcompiler.files.scratch import scratch_folder

Payload = TypeVar("Payload")
Item = TypeVar("Item")
Result = TypeVar("Result")
Built = TypeVar("Built")

_LOCK = threading.Lock()
_RESIDENT: dict[str, Any] = {}
"""What this process built of the last payload that it worked on, by key."""


@dataclass(frozen=True, eq=False)
class Shipment(Generic[Payload]):
    """A payload on its way to workers. Picklable if the payload is.

    Attributes:
        content: The payload, or the file that holds it pickled.
        key: Identifies the payload among all that a worker sees.
    """

    content: Payload | Path
    key: str

    def unpack(self) -> Payload:
        if isinstance(self.content, Path):
            content: Payload = pickle.loads(self.content.read_bytes())
            return content
        return self.content

    def resident(self, build: Callable[[Payload], Built]) -> Built:
        """What `build` makes of the payload, kept in this process from task to task."""
        with _LOCK:
            if self.key not in _RESIDENT:
                payload = self.unpack()
                _RESIDENT.clear()
                _RESIDENT[self.key] = build(payload)
            built: Built = _RESIDENT[self.key]
            return built

    def forget(self) -> None:
        """Drops what this process built."""
        with _LOCK:
            _RESIDENT.pop(self.key, None)


@contextmanager
def shipped(
    payload: Payload, digest: str, executor: Executor | None
) -> Iterator[Shipment[Payload]]:
    """The payload for the workers of this executor: by file to this machine's process pools.

    Other executors (Dask) get it with each task and build from it once.

    Args:
        payload: What every task needs.
        digest: Tells payloads apart together with this process and object.
        executor: Where it goes; None for this process.
    """
    key = f"{digest}-{os.getpid()}-{id(payload)}"
    if not isinstance(executor, ProcessPoolExecutor):
        yield Shipment(payload, key)
        return
    with scratch_folder() as folder:
        path = folder / "payload.pickle"
        with path.open("wb") as file:
            pickle.dump(payload, file, protocol=pickle.HIGHEST_PROTOCOL)
        yield Shipment(path, f"{key}-{path}")


class Crew(Generic[Payload]):
    """Runs tasks on one payload; a context manager, since it may hold threads and a file.

    Args:
        payload: What every task needs.
        digest: See `shipped`.
        executor: Workers; None uses threads of this process, one per core.
    """

    def __init__(self, payload: Payload, digest: str, executor: Executor | None = None) -> None:
        self._payload, self._digest, self._given = payload, digest, executor

    def map(
        self, task: Callable[[Shipment[Payload], Item], Result], items: Sequence[Item]
    ) -> list[Result]:
        """Results in order; a dead pool is replaced by this process."""
        return [each for (each,) in self._tried(task, items, None)]

    def map_within(
        self,
        task: Callable[[Shipment[Payload], Item], Result],
        items: Sequence[Item],
        seconds: float | None,
    ) -> list[Result | None]:
        """As `map`, but what is not done after `seconds` is given up: None takes its place.

        None as `seconds` waits for all.
        """
        return [each[0] if each else None for each in self._tried(task, items, seconds)]

    def _tried(
        self,
        task: Callable[[Shipment[Payload], Item], Result],
        items: Sequence[Item],
        seconds: float | None,
    ) -> list[tuple[Result, ...]]:
        """One result or none per item."""
        try:
            return self._run(task, items, seconds)
        except BrokenExecutor:
            self._close()
            self._open(None)
            return self._run(task, items, seconds)

    def _run(
        self,
        task: Callable[[Shipment[Payload], Item], Result],
        items: Sequence[Item],
        seconds: float | None,
    ) -> list[tuple[Result, ...]]:
        pending: list[Future[Result]] = []
        try:
            pending += [self._executor.submit(task, self._shipment, item) for item in items]
            done = wait(pending, seconds).done
            return [(each.result(),) if each in done else () for each in pending]
        finally:
            for future in pending:
                future.cancel()

    def __enter__(self) -> Crew[Payload]:
        self._open(self._given)
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _open(self, executor: Executor | None) -> None:
        self._way = shipped(self._payload, self._digest, executor)
        self._shipment = self._way.__enter__()
        self._own = executor is None
        self._executor = executor or ThreadPoolExecutor(os.cpu_count() or 1)

    def _close(self) -> None:
        if self._own:
            self._executor.shutdown(cancel_futures=True)
        self._way.__exit__(None, None, None)
        self._shipment.forget()
