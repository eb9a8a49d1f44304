"""Shards of feeds on any `concurrent.futures.Executor`, merged exactly.

A work item is picklable. On this machine's process pools the model travels once, through a file;
other executors (Dask) get it with each item and keep it by its digest.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from itertools import islice

from qcompiler.calibration.instrument import FloatModel
from qcompiler.calibration.recorder import Observations, Recorder
from qcompiler.errors import CalibrationError
from qcompiler.execution.shipping import Shipment, shipped
from qcompiler.ir.signature import Feed

SHARD = 8
"""Feeds per shard."""
_LOCAL = threading.local()
"""The recorder of the last model that this thread worked on, with its key."""


@dataclass(frozen=True, eq=False)
class Job:
    """How shards of one calibration are observed. Picklable.

    Attributes:
        model: The float model.
        threads: Threads of ONNX Runtime per worker.
        cap: Bytes of observed values held at once per worker.
    """

    model: Shipment[FloatModel]
    threads: int | None
    cap: int

    def recorder(self) -> Recorder:
        """This thread's recorder, kept from shard to shard."""
        if getattr(_LOCAL, "key", None) != self.model.key:
            model = self.model.unpack()
            _LOCAL.recorder = Recorder(model, self.threads, self.cap, spinning=False)
            _LOCAL.key = self.model.key
        recorder: Recorder = _LOCAL.recorder
        return recorder


def observe_shard(job: Job, feeds: Sequence[Feed]) -> Observations:
    """The observations of a few feeds, merged. Runs in a worker."""
    recorder = job.recorder()
    recorder.take()  # what a failed shard left behind
    for feed in feeds:
        recorder.observe(feed)
    return recorder.take()


def shards(feeds: Iterable[Feed], size: int = SHARD) -> Iterator[list[Feed]]:
    """Consecutive feeds in lists of `size`; the last may be shorter."""
    iterator = iter(feeds)
    while shard := list(islice(iterator, size)):
        yield shard


def observe_shards(
    executor: Executor,
    model: FloatModel,
    feeds: Iterable[list[Feed]],
    threads: int | None,
    cap: int,
) -> Iterator[tuple[list[Feed], Observations]]:
    """Shards with their observations, in order; a few are in flight at a time.

    Raises:
        CalibrationError: A worker died.
    """
    waiting: deque[tuple[list[Feed], Future[Observations]]] = deque()
    most = (os.cpu_count() or 1) + 1
    with shipped(model, model.packed.digest, executor) as shipment:
        job = Job(shipment, threads, cap)
        try:
            for shard in feeds:
                waiting.append((shard, executor.submit(observe_shard, job, shard)))
                if len(waiting) >= most:
                    yield _next(waiting)
            while waiting:
                yield _next(waiting)
        finally:
            for _, future in waiting:
                future.cancel()


def _next(
    waiting: deque[tuple[list[Feed], Future[Observations]]],
) -> tuple[list[Feed], Observations]:
    shard, future = waiting.popleft()
    try:
        return shard, future.result()
    except BrokenExecutor as error:
        raise CalibrationError(
            "a calibration worker died",
            why=str(error),
            fix="use fewer workers (memory), or calibrate without an executor",
        ) from error
