"""Plan → placed program: the target's own passes make a plan explicit."""

from __future__ import annotations

from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program, Property
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline, PipelineReport
from qcompiler.target.contract import Target


def place(
    program: Program, target: Target, plan: Plan, verify_each: bool = False
) -> tuple[Program, PipelineReport]:
    """A copy of a calibrated program with the plan made explicit by the target's passes."""
    placed = program.clone()
    placed.plan = plan
    placed.properties = program.properties | {Property.PRECISION_ASSIGNED}
    pipeline = Pipeline.parse(target.placement)
    report = pipeline.run(placed, PassContext(target=target))
    return placed, report
