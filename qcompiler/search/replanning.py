"""Variants of a plan that was asked for: regions of a fixed scheme that run otherwise, by loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qcompiler.decisions.settling import settle
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.signature import Feed
from qcompiler.measurement.candidates import Workshop
from qcompiler.measurement.variants import Variant
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.search.goal import Goal


def replanned(
    workshop: Workshop, plan: Plan, variant: Variant, goal: Goal, fitting: Sequence[Feed]
) -> Plan | None:
    """The plan as a variant leaves it; None if no region runs otherwise.

    Args:
        workshop: Of the program that it is for.
        plan: For all regions.
        variant: Of the stage `PLAN` or `LAST`.
        goal: Whose overrides the variant has to leave alone.
        fitting: What it may fit to.

    Raises:
        QCompilerError: The pass failed.
    """
    program = replace(workshop.program, plan=plan)  # the pipeline clones the graph
    options: dict[str, object] = {"overrides": dict(goal.overrides)}
    if workshop.judge is not None:
        options["limit"] = workshop.judge.limit
    Pipeline.parse(variant.text).run(
        program,
        PassContext(workshop.target, samples=fitting, options=options, executor=workshop.executor),
    )
    assert program.plan is not None
    return None if program.plan.precisions == plan.precisions else program.plan


def changes(before: Plan, after: Plan) -> dict[str, Choice]:
    """What a variant chose otherwise, by region."""
    return {
        key: choice
        for key, choice in after.choices.items()
        if choice.precision != before.precision(key)
    }


def with_changes(workshop: Workshop, plan: Plan, changed: Mapping[str, Choice]) -> Plan:
    """The plan of another base with the same changes, and what follows for neighbours.

    A region that this base does not have, or not in that form, stays as it was asked for.
    """
    choices = dict(plan.choices)
    for each in workshop.options:
        choice = changed.get(each.region.key)
        if choice is None or each.pinned is not None:
            continue
        if choice.precision == FLOAT or each.named(choice.precision) is not None:
            choices[each.region.key] = choice
    if changed:
        settle(workshop.options, choices, workshop.program.observations)
    return replace(plan, choices=choices)
