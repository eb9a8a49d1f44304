"""Losses of choices of ranges, on all cores or on any `concurrent.futures.Executor`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import LoweringError
from qcompiler.execution.packing import PackedModel
from qcompiler.execution.session import OrtSession
from qcompiler.execution.shipping import Crew, Shipment
from qcompiler.ir.signature import Feed
from qcompiler.measurement.gain import Look, look
from qcompiler.measurement.range_model import SCALES, ZEROS, RangeModel, scales_and_zeros
from qcompiler.measurement.slices import OutputSlices
from qcompiler.quantization.qspace import QParams

Ranges = tuple[QParams, ...]
"""Parameters of every group."""
_Inputs = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]


@dataclass(frozen=True, eq=False)
class _Payload:
    packed: PackedModel
    feeds: tuple[Feed, ...]
    reference: tuple[Sequence[Any], ...]
    slices: tuple[OutputSlices, ...]


class _Runner:
    def __init__(self, payload: _Payload) -> None:
        self._payload = payload
        self._session = OrtSession(payload.packed, threads=1, spinning=False)

    def measured(self, inputs: _Inputs) -> Look:
        """Inf where the model does not run: the ranges round a size or an index."""
        payload = self._payload
        extra = dict(zip((SCALES, ZEROS), inputs, strict=True))
        try:
            found = [self._session.run_checked({**feed, **extra}) for feed in payload.feeds]
        except LoweringError:
            return Look(math.inf, (math.inf,) * len(payload.feeds))
        return look(payload.reference, found, payload.slices)


def _probe(shipment: Shipment[_Payload], inputs: _Inputs) -> Look:
    return shipment.resident(_Runner).measured(inputs)


class RangeProber:
    """Measures choices of ranges; a context manager, since it may hold threads and a file.

    Args:
        model: The model with ranges as inputs.
        feeds: Samples.
        reference: What float gives for them.
        slices: How outputs are judged.
        executor: Workers; None uses threads of this process, one per core.
    """

    def __init__(
        self,
        model: RangeModel,
        feeds: Sequence[Feed],
        reference: Sequence[Sequence[Any]],
        slices: Sequence[OutputSlices],
        executor: Executor | None = None,
    ) -> None:
        payload = _Payload(model.packed, tuple(feeds), tuple(reference), tuple(slices))
        self._crew = Crew(payload, model.packed.digest, executor)
        self.count = 0

    def measure(self, choices: Sequence[Ranges]) -> list[Look]:
        """Loss of each choice, in order."""
        self.count += len(choices)
        return self._crew.map(_probe, [scales_and_zeros(each) for each in choices])

    def __enter__(self) -> RangeProber:
        self._crew.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._crew.__exit__(*error)
