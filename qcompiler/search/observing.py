"""Calibration of one program for all targets and variants of a compilation, in one run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from qcompiler.calibration.dividing import divided
from qcompiler.calibration.keeper import Keeper
from qcompiler.config import Recipe
from qcompiler.decisions.schemes import Scheme
from qcompiler.errors import CalibrationError
from qcompiler.ir.program import Program
from qcompiler.measurement.variants import Variant, ask
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline, PipelineReport
from qcompiler.search.goal import Samples
from qcompiler.target.contract import Target


def calibrated(
    program: Program,
    targets: Sequence[Target],
    feeds: Iterable[Any] | None,
    scheme: Scheme,
    effort: Recipe,
    context: PassContext,
    reports: list[PipelineReport],
    variants: Sequence[Variant],
    islands: bool,
) -> Samples:
    """Observes what the targets and the variants want, in one run; returns the samples kept.

    With `islands`, overrides or a plan ask for ranges where the scheme does not.

    Raises:
        CalibrationError: The scheme needs calibration data and there is none.
    """
    needed = any(scheme.needs_calibration(each.capabilities) for each in targets)
    if feeds is None:
        fixed = program.absorbed is not None and program.absorbed.values
        if needed and not scheme.is_auto and not fixed:
            raise CalibrationError(
                f"the scheme {scheme.precision!r} needs calibration data",
                fix="pass calibration=<iterable of feeds>, or scheme='dynamic'",
            )
        return Samples((), 0)
    keeper = Keeper(program.signature, feeds, 4 * effort.samples)
    if not (needed or islands):
        for _ in keeper:
            pass
        judging, fitting = divided(keeper, program, effort.samples, effort.fitting)
        return Samples(judging, keeper.seen, fitting, keeper.digest)
    method = scheme.observer or effort.observer
    context.feeds = keeper
    reports.append(_observed(program, targets, method, context))
    for target in targets:
        ask(program, target, variants)
    reports.append(Pipeline.parse("calibrate").run(program, context))
    judging, fitting = divided(keeper, program, effort.samples, effort.fitting)
    return Samples(judging, keeper.seen, fitting, keeper.digest)


def _observed(
    program: Program, targets: Sequence[Target], method: str, context: PassContext
) -> PipelineReport:
    """Requests of all targets together, so that one run serves them."""
    insert = Pipeline.parse(f"insert-observers{{method={method}}}")
    first, *others = targets
    report = insert.run(program, replace(context, target=first))
    for target in others:
        copy = program.clone()
        insert.run(copy, replace(context, target=target))
        program.requests |= copy.requests
    return report
