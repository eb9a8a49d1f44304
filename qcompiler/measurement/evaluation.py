"""Losses of several plans at once, on any `concurrent.futures.Executor`.

A worker builds a plan as this process would: the same passes, the same lowering, the judge's own
samples, on one thread of the engine. Time is never measured there.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from qcompiler.decisions.absorbed import Absorbed
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.decisions.roundings import remembered
from qcompiler.execution.packing import PackedModel, pack, unpack
from qcompiler.execution.shipping import Crew, Shipment
from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program, Property, Provenance
from qcompiler.ir.signature import Signature
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.placing import place
from qcompiler.quantization.observer import Observer
from qcompiler.target.contract import Target


@dataclass(frozen=True, eq=False)
class CalibratedProgram:
    """A calibrated program on its way to a worker. Picklable, which an onnx-ir graph is not."""

    packed: PackedModel
    signature: Signature
    provenance: Provenance
    observations: Mapping[str, Observer]
    absorbed: Absorbed | None
    properties: frozenset[Property]

    @classmethod
    def of(cls, program: Program) -> CalibratedProgram:
        return cls(
            pack(program.model),
            program.signature,
            program.provenance,
            dict(program.observations),
            program.absorbed,
            program.properties,
        )

    def program(self) -> Program:
        return Program(
            unpack(self.packed),
            self.signature,
            self.provenance,
            observations=dict(self.observations),
            absorbed=self.absorbed,
            properties=self.properties,
        )


@dataclass(frozen=True, eq=False)
class Payload:
    """What a worker needs once: the program, where it runs, and by what it is judged."""

    calibrated: CalibratedProgram
    target: Target
    judge: Judge


@dataclass(frozen=True, eq=False)
class _Bench:
    """What a worker keeps between plans."""

    program: Program
    target: Target
    options: Sequence[Options]
    judge: Judge

    @classmethod
    def of(cls, payload: Payload) -> _Bench:
        program, target = payload.calibrated.program(), payload.target
        with remembered(program.absorbed):
            options = region_options(program, target, target.regions(program))
        return cls(program, target, options, payload.judge)


def plan_loss(shipment: Shipment[Payload], plan: Plan) -> float | None:
    """NSR of the plan on the judge's samples; None if that fails. Runs in a worker.

    Why it fails is told by the process that builds the plan again to time it.
    """
    bench = shipment.resident(_Bench.of)
    try:
        artifact = bench.target.lower(place(bench.program, bench.target, bench.options, plan)[0])
        return bench.judge.loss(artifact.run)
    except Exception:  # noqa: BLE001 - engines raise what they like
        return None


def plan_losses(
    program: Program,
    target: Target,
    judge: Judge,
    plans: Sequence[Plan],
    executor: Executor,
    seconds: float | None = None,
) -> list[float | None]:
    """Loss of each plan, in order; None for plans that fail or take too long.

    Args:
        program: Canonical and calibrated.
        target: Where plans run; see `unshippable`.
        judge: Samples with float outputs.
        plans: What to build.
        executor: Workers; a pool that dies is replaced by this process.
        seconds: How long to wait for the workers, who may have to start first; None waits.
    """
    payload = Payload(CalibratedProgram.of(program), target.single_threaded(), judge)
    with Crew(payload, payload.calibrated.packed.digest, executor) as crew:
        return crew.map_within(plan_loss, plans, seconds)


def unshippable(target: Target) -> str | None:
    """Why a worker cannot build this target's artifacts, None if it can."""
    try:
        pickle.dumps(target)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        return f"{target.name} cannot be pickled: {error}"
    return None
