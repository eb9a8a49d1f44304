"""Plan → placed program: all is decided once, then the target's passes write it."""

from __future__ import annotations

from collections.abc import Sequence

from qcompiler.decisions.forms import Options
from qcompiler.decisions.resolve import resolve
from qcompiler.decisions.roundings import remembered
from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.signature import Feed
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline, PipelineReport
from qcompiler.search.variants import Variant
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
        LegalityError: See `resolve`.
    """
    placed = program.clone()
    placed.plan = plan
    with remembered(program.absorbed):
        placed.placement = resolve(program.observations, options, plan, program.absorbed)
    placed.properties = program.properties | {Property.PRECISION_ASSIGNED, Property.RESOLVED}
    text = ",".join([*(each.text for each in variants), target.placement])
    report = Pipeline.parse(text).run(placed, PassContext(target, samples=samples))
    return placed, report
