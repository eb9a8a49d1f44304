"""Losses of sets of gates, here on all cores or on any `concurrent.futures.Executor`.

A probe is deterministic: one thread of ONNX Runtime, fixed samples. So the losses, and all that is
decided from them, are the same bit for bit wherever probes run and however many workers there are.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qcompiler.execution.packing import PackedModel
from qcompiler.execution.session import OrtSession
from qcompiler.ir.signature import Feed
from qcompiler.search.gates import FLAGS, Gate, GateModel
from qcompiler.search.loss import noise_to_signal

_LOCAL = threading.Lock()
_RUNNERS: dict[str, _Runner] = {}
"""The runner of the last model that this process worked on, by key."""


@dataclass(frozen=True, eq=False)
class Payload:
    """What a worker needs once: the switchable model, the samples, the number of gates."""

    packed: PackedModel
    feeds: tuple[Feed, ...]
    gates: int


@dataclass(frozen=True, eq=False)
class ProbeJob:
    """How probes of one model are run. Picklable.

    Attributes:
        payload: Model and samples, or the file that holds them pickled.
        key: Identifies the payload among all that a worker sees.
    """

    payload: Payload | Path
    key: str

    def runner(self) -> _Runner:
        """This process's session and float outputs, kept from probe to probe."""
        with _LOCAL:
            if self.key not in _RUNNERS:
                payload = self.payload
                if isinstance(payload, Path):
                    payload = pickle.loads(payload.read_bytes())
                _RUNNERS.clear()
                _RUNNERS[self.key] = _Runner(payload)
            return _RUNNERS[self.key]


class _Runner:
    """A session of the switchable model and what it computes with all gates off."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._session = OrtSession(payload.packed, threads=1, spinning=False)
        self._reference = self._outputs(())

    def loss(self, on: Sequence[int]) -> float:
        return noise_to_signal(self._reference, self._outputs(on))

    def _outputs(self, on: Sequence[int]) -> list[list[np.ndarray]]:
        flags = np.zeros(self._payload.gates, bool)
        flags[list(on)] = True
        return [self._session.run_checked({**feed, FLAGS: flags}) for feed in self._payload.feeds]


def probe(job: ProbeJob, on: Sequence[int]) -> float:
    """Noise-to-signal ratio with these gates on. Runs in a worker."""
    return job.runner().loss(on)


class Prober:
    """Measures sets of gates; a context manager, since it may hold threads and a file.

    Args:
        model: The switchable model.
        feeds: Samples.
        executor: Workers; None uses threads of this process, one per core.
    """

    def __init__(
        self, model: GateModel, feeds: Sequence[Feed], executor: Executor | None = None
    ) -> None:
        self._index = {gate: i for i, gate in enumerate(model.gates)}
        self._payload = Payload(model.packed, tuple(feeds), len(model.gates))
        self._given = executor
        self.count = 0

    def losses(self, groups: Sequence[Sequence[Gate]]) -> list[float]:
        """Loss of each set of gates, in order; a dead pool is replaced by this process."""
        wanted = [sorted(self._index[gate] for gate in group) for group in groups]
        self.count += len(wanted)
        try:
            return self._run(self._executor, wanted)
        except BrokenExecutor:
            self._close()
            self._open(None)
            return self._run(self._executor, wanted)

    def _run(self, executor: Executor, wanted: Sequence[Sequence[int]]) -> list[float]:
        pending: list[Future[float]] = []
        try:
            pending += [executor.submit(probe, self._job, on) for on in wanted]
            return [future.result() for future in pending]
        finally:
            for future in pending:
                future.cancel()

    def __enter__(self) -> Prober:
        self._open(self._given)
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _open(self, executor: Executor | None) -> None:
        self._shipment = _shipped(self._payload, executor)
        self._job = self._shipment.__enter__()
        self._own = executor is None
        self._executor = executor or ThreadPoolExecutor(os.cpu_count() or 1)

    def _close(self) -> None:
        if self._own:
            self._executor.shutdown(cancel_futures=True)
        self._shipment.__exit__(None, None, None)
        with _LOCAL:
            _RUNNERS.pop(self._job.key, None)


@contextmanager
def _shipped(payload: Payload, executor: Executor | None) -> Iterator[ProbeJob]:
    """A job whose payload reaches the workers: by file to this machine's process pools."""
    key = f"{payload.packed.digest}-{os.getpid()}-{id(payload)}"
    if not isinstance(executor, ProcessPoolExecutor):
        yield ProbeJob(payload, key)
        return
    with tempfile.TemporaryDirectory(prefix="qcompiler-") as folder:
        path = Path(folder) / "probes.pickle"
        with path.open("wb") as file:
            pickle.dump(payload, file, protocol=pickle.HIGHEST_PROTOCOL)
        yield ProbeJob(path, key)
