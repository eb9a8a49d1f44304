"""Losses of sets of gates, here on all cores or on any `concurrent.futures.Executor`.

A probe is deterministic: one thread of ONNX Runtime, fixed samples. So the losses, and all that is
decided from them, are the same bit for bit wherever probes run and however many workers there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcompiler.errors import LoweringError
from qcompiler.execution.packing import PackedModel
from qcompiler.execution.session import OrtSession
from qcompiler.execution.shipping import Crew, Shipment
from qcompiler.ir.signature import Feed
from qcompiler.measurement.gate import FLAGS, Gate, GateModel
from qcompiler.measurement.loss import noise_to_signal
from qcompiler.measurement.slices import OutputSlices
from qcompiler.measurement.views import Taken

SLOWER = 2.0
"""How much longer a run with switches takes than one of float."""


@dataclass(frozen=True, eq=False)
class Payload:
    """What a worker needs once: the switchable model, samples, number of gates, how to judge."""

    packed: PackedModel
    feeds: tuple[Feed, ...]
    gates: int
    slices: tuple[OutputSlices, ...] | None = None
    taken: Taken | None = None


class _Runner:
    """A session of the switchable model and what it computes with all gates off."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._session = OrtSession(payload.packed, threads=1, spinning=False)
        self._reference = self._outputs(())

    def loss(self, on: Sequence[int]) -> float:
        """Inf where the model does not run with these gates on: they round a size or an index."""
        try:
            found = self._outputs(on)
        except LoweringError:
            return math.inf
        return noise_to_signal(self._reference, found, self._payload.slices)

    def _outputs(self, on: Sequence[int]) -> list[list[Any]]:
        flags = np.zeros(self._payload.gates, bool)
        flags[list(on)] = True
        found = [self._session.run_checked({**feed, FLAGS: flags}) for feed in self._payload.feeds]
        return found if self._payload.taken is None else self._payload.taken.all(found)


def probe(shipment: Shipment[Payload], on: Sequence[int]) -> float:
    """Noise-to-signal ratio with these gates on. Runs in a worker."""
    return shipment.resident(_Runner).loss(on)


class Prober:
    """Measures sets of gates; a context manager, since it may hold threads and a file.

    Args:
        model: The switchable model.
        feeds: Samples.
        executor: Workers; None uses threads of this process, one per core.
        slices: How outputs are judged, of at least these samples; each as a whole if absent.
        taken: What is judged of the outputs, of at least these samples; the outputs if absent.
    """

    def __init__(
        self,
        model: GateModel,
        feeds: Sequence[Feed],
        executor: Executor | None = None,
        slices: Sequence[OutputSlices] | None = None,
        taken: Taken | None = None,
    ) -> None:
        self._index = {gate: i for i, gate in enumerate(model.gates)}
        first = None if slices is None else tuple(each.first(len(feeds)) for each in slices)
        payload = Payload(model.packed, tuple(feeds), len(model.gates), first, taken)
        self._crew = Crew(payload, model.packed.digest, executor)
        self.count = 0

    def losses(self, groups: Sequence[Sequence[Gate]]) -> list[float]:
        """Loss of each set of gates, in order."""
        wanted = [sorted(self._index[gate] for gate in group) for group in groups]
        self.count += len(wanted)
        return self._crew.map(probe, wanted)

    def __enter__(self) -> Prober:
        self._crew.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._crew.__exit__(*error)
