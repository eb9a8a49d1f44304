"""The first region, and the first pass, with which a program loses more than a bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qcompiler.config import FLOAT_PIPELINE
from qcompiler.decisions.options import Options
from qcompiler.decisions.roundings import remembered
from qcompiler.errors import LoweringError, QCompilerError
from qcompiler.execution.session import OrtSession
from qcompiler.ir.origin import describe
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.signature import Feed
from qcompiler.measurement.candidates import Workshop
from qcompiler.measurement.loss import noise_to_signal, sqnr_db
from qcompiler.measurement.parts import Slicer
from qcompiler.pipeline.bisection import bisect
from qcompiler.pipeline.contract import PassContext, Progress, step
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.target.contract import Target


@dataclass(frozen=True)
class Bisection:
    """What makes a program lose more than a bound.

    Attributes:
        bound: Noise-to-signal ratio that was allowed.
        loss: What the whole program loses on its engine.
        region: Key of the first region, in graph order, with which and all before it the bound is
            passed on the engine; None where it is kept.
        where: The same in words.
        before: Loss with all regions before it.
        after: Loss with it.
        culprit: The first pass after which a program that ONNX Runtime runs passes the bound.
    """

    bound: float
    loss: float
    region: str | None = None
    where: str | None = None
    before: float = 0.0
    after: float = 0.0
    culprit: str | None = None

    def text(self) -> str:
        """In sentences."""
        bound = f"{sqnr_db(self.bound):.1f} dB"
        if self.region is None:
            told = f"{bound} are kept: {sqnr_db(self.loss):.1f} dB"
        else:
            told = (
                f"{bound} are passed with {self.where}: {sqnr_db(self.before):.1f} dB before it, "
                f"{sqnr_db(self.after):.1f} dB with it, {sqnr_db(self.loss):.1f} dB in all"
            )
        return told + (f"; first pass over the bound: {self.culprit}" if self.culprit else "")


@dataclass(frozen=True, eq=False)
class Searched:
    """What a bisection looks at.

    Attributes:
        source: What was compiled.
        base: The float program, calibrated.
        target: Where it runs.
        options: Legal forms by region.
        plan: What was chosen.
        run: The artifact.
    """

    source: Program
    base: Program
    target: Target
    options: Sequence[Options]
    plan: Plan
    run: Callable[[Feed], Sequence[object]]


def bisected(
    searched: Searched, feeds: Sequence[Feed], bound: float, progress: Progress
) -> Bisection:
    """Halves the regions on the engine, and the passes on ONNX Runtime.

    Plans of some regions are built without accuracy passes of the placement.

    Args:
        searched: The compilation.
        feeds: Samples.
        bound: Noise-to-signal ratio allowed.
        progress: Told of every build.

    Raises:
        QCompilerError: The engine refuses a part of the plan.
    """
    session = OrtSession(searched.base.model)
    reference = [session.run_checked(feed) for feed in feeds]
    slices = Slicer(searched.base)(feeds, reference)

    def loss_of(run: Callable[[Feed], Sequence[object]]) -> float:
        return noise_to_signal(reference, [list(run(feed)) for feed in feeds], slices)

    whole = loss_of(searched.run)
    culprit = _pass(searched, feeds, bound)
    if whole <= bound:
        return Bisection(bound, whole, culprit=culprit)
    workshop = Workshop(searched.base, searched.target, searched.options)
    regions = [
        each.region
        for each in searched.options
        if searched.plan.precision(each.region.key) != FLOAT
    ]

    def until(count: int) -> float:
        keys = {r.key: searched.plan.precision(r.key) for r in regions[:count]}
        artifact = workshop.build(workshop.plan(keys)).artifact
        loss = loss_of(artifact.run)
        artifact.release()
        progress.advance(note=f"the first {count} of {len(regions)} regions")
        return loss

    good, bad, before, after = 0, len(regions), 0.0, whole
    with step(progress, "halving the regions", max(1, len(regions) - 1).bit_length()):
        while bad - good > 1:
            middle = (good + bad) // 2
            found = until(middle)
            if found <= bound:
                good, before = middle, found
            else:
                bad, after = middle, found
    region = regions[bad - 1] if regions else None
    key, where = (None, None) if region is None else (region.key, describe(region.anchor))
    return Bisection(bound, whole, key, where, before, after, culprit)


def _pass(searched: Searched, feeds: Sequence[Feed], bound: float) -> str | None:
    """The first pass after which the bound is passed, of the float ones and of the placement."""
    source = OrtSession(searched.source.model)
    wanted = [source.run_checked(feed) for feed in feeds]
    slices = Slicer(searched.source)(feeds, wanted)

    def holds(program: Program) -> bool:
        try:
            session = OrtSession(program.model)
            found = [session.run_checked(feed) for feed in feeds]
        except LoweringError:
            return True  # what ONNX Runtime has no form of says nothing
        return noise_to_signal(wanted, found, slices) <= bound

    context = PassContext(searched.target)
    with remembered(searched.base.absorbed):
        try:
            culprit = bisect(
                Pipeline.parse(FLOAT_PIPELINE), searched.source, holds, lambda: context
            )
            if culprit is None:
                planned = _planned(searched)
                written = Pipeline.parse(f"resolve-placement,{searched.target.placement}")
                culprit = bisect(written, planned, holds, lambda: context)
        except QCompilerError:
            return None
    return None if culprit is None else f"{culprit.name} (number {culprit.number})"


def _planned(searched: Searched) -> Program:
    program = searched.base.clone()
    program.plan = searched.plan
    program.properties = program.properties | {Property.PRECISION_ASSIGNED}
    return program
