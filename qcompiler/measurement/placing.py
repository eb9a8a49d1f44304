"""Plan → placed program: all is decided once, then the target's passes write it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qcompiler.decisions.binding import bound_regions
from qcompiler.decisions.options import Options
from qcompiler.decisions.placement import Placement
from qcompiler.decisions.resolve import resolve
from qcompiler.decisions.roundings import remembered
from qcompiler.errors import LegalityError
from qcompiler.ir.collector import rare_collections
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
    decided, told = improve(decide(program, options, plan), target, variants, samples)
    placed, report = write(decided, target)
    return placed, told.then(report)


@rare_collections()
def decide(
    program: Program, options: Sequence[Options], plan: Plan, known: Placement | None = None
) -> Program:
    """A calibrated program with what the plan comes to, nothing of it written; the graph is shared.

    Args:
        program: Canonical and calibrated; not changed.
        options: Legal forms of its regions.
        plan: Precision of every region.
        known: What was decided of this plan and changed since; `resolve` decides if None.

    Raises:
        LegalityError: See `resolve`.
    """
    if known is None:
        with remembered(program.absorbed):
            known = resolve(program.observations, options, plan, program.absorbed)
    properties = program.properties | {Property.PRECISION_ASSIGNED, Property.RESOLVED}
    # Pipelines work on a clone of the graph, which the program then holds alone.
    return replace(program, plan=plan, placement=known, properties=properties)


def improve(
    decided: Program, target: Target, variants: Sequence[Variant], samples: Sequence[Feed]
) -> tuple[Program, PipelineReport]:
    """The decided program, its placement changed in place by accuracy passes.

    Raises:
        QCompilerError: A pass failed.
    """
    if not variants:
        return decided, PipelineReport()
    text = ",".join(each.text for each in variants)
    return decided, Pipeline.parse(text).run(decided, PassContext(target, samples=samples))


@rare_collections()
def write(decided: Program, target: Target) -> tuple[Program, PipelineReport]:
    """What was decided, written in place by the target's passes.

    Raises:
        LegalityError: They left a weight in float.
        InvalidProgramError: They left a broken program.
    """
    report = Pipeline.parse(target.placement).run(decided, PassContext(target))
    require_valid(decided, f"after the placement for {target.name}")
    _require_written(decided, target)
    return decided, report


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
