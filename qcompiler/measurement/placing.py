"""Plan → placed program: all is decided once, then the target's passes write it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qcompiler.decisions.binding import bound_regions
from qcompiler.decisions.forms import Options
from qcompiler.decisions.resolve import resolve
from qcompiler.decisions.roundings import remembered
from qcompiler.errors import LegalityError
from qcompiler.ir.origin import describe
from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.signature import Feed
from qcompiler.ir.verifier import require_valid
from qcompiler.ir.walk import is_constant
from qcompiler.measurement.variants import Variant
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline, PipelineReport
from qcompiler.target.capability import Kernel
from qcompiler.target.contract import Target


def place(
    program: Program,
    target: Target,
    options: Sequence[Options],
    plan: Plan,
    variants: Sequence[Variant] = (),
    samples: Sequence[Feed] = (),
) -> tuple[Program, PipelineReport]:
    """A copy of a calibrated program with the plan made explicit by the target's passes.

    Args:
        program: Canonical and calibrated; not changed.
        target: Whose passes write.
        options: Legal forms of the program's regions.
        plan: Precision of every region.
        variants: Accuracy passes that change the placement before it is written.
        samples: What they are fitted to.

    Raises:
        LegalityError: See `resolve`; or the target's passes left a weight in float.
        InvalidProgramError: The target's passes left a broken program.
    """
    with remembered(program.absorbed):
        placement = resolve(program.observations, options, plan, program.absorbed)
    known = program.properties | {Property.PRECISION_ASSIGNED, Property.RESOLVED}
    # The pipeline works on a clone of the graph, which `placed` then holds alone.
    placed = replace(program, plan=plan, placement=placement, properties=known)
    text = ",".join([*(each.text for each in variants), target.placement])
    report = Pipeline.parse(text).run(placed, PassContext(target, samples=samples))
    require_valid(placed, f"after the placement for {target.name}")
    _require_written(placed, target)
    return placed, report


def _require_written(program: Program, target: Target) -> None:
    """What was decided has to stand in the graph, or a weight runs in float under another name.

    Raises:
        LegalityError: No pass of the target's placement writes this form.
    """
    for kernel in Kernel:
        for each in bound_regions(program, kernel):
            weight = each.region.weight
            if each.decided.rounding is None or weight is None or not is_constant(weight.value):
                continue
            kind = weight.value.dtype
            if kind is not None and kind.is_floating_point() and kind.bitwidth >= 16:
                raise LegalityError(
                    f"{each.region} is to run as {each.form.precision}, and its weight stays float",
                    where=describe(each.region.anchor),
                    why=f"no pass in the placement of {target.name} writes this form",
                    fix=f"add the pass that does to `placement`: {target.placement}",
                )
