"""The base of a search: the float program and its ranges, with the variants that they gain by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qcompiler.choices.cost import uniform_trials
from qcompiler.decisions.forms import Options, region_options
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.candidates import Candidate, Workshop
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.variants import Tried, Variant, keep_if_better, with_base
from qcompiler.pipeline.contract import Progress, Stage, step
from qcompiler.search.goal import Goal, Samples
from qcompiler.target.contract import Target


@dataclass(frozen=True, eq=False)
class Base:
    """What candidates are made of.

    Attributes:
        program: Canonical and calibrated.
        options: Legal forms of its regions.
        variants: What it was made with.
        tried: What trying variants came to.
    """

    program: Program
    options: Sequence[Options]
    variants: tuple[Variant, ...] = ()
    tried: tuple[Tried, ...] = ()

    def followed_by(self, other: Base) -> Base:
        """The other one, which was made from this one."""
        return replace(
            other,
            variants=(*self.variants, *other.variants),
            tried=(*self.tried, *other.tried),
        )

    @property
    def log(self) -> tuple[str, ...]:
        """What was tried, a line each."""
        return tuple(each.told for each in self.tried)


def everything(workshop: Workshop) -> Candidate | None:
    """The plan that quantizes every region, built; None where there is none or it fails."""
    trials = uniform_trials(workshop.options)
    if not trials or not workshop.program.observations:
        return None
    try:
        return workshop.build(workshop.plan(trials[0]))
    except Exception:  # noqa: BLE001 - the search tries other plans and logs why this one fails
        return None


def informed(judge: Judge, first: Candidate | None) -> Judge:
    """The judge, its bounds derived from the noise that a candidate shows, if that runs."""
    if first is None:
        return judge
    try:
        return judge.after(first.artifact.run)
    except Exception:  # noqa: BLE001 - as above
        return judge


def kept_feeds(samples: Samples) -> list[Feed]:
    """All that was kept from calibration, each feed once."""
    return list({id(each): each for each in (*samples.fitting, *samples.feeds)}.values())


def extended(base: Base, target: Target, variant: Variant, samples: Samples, goal: Goal) -> Base:
    """The base with one more variant of the float program or of ranges.

    Raises:
        QCompilerError: See `with_base`.
    """
    feeds = kept_feeds(samples)
    changed = with_base(
        base.program, target, variant, feeds, goal.variants, samples.fitting, goal.overrides
    )
    forms = region_options(changed, target, target.regions(changed), goal.overrides)
    return Base(changed, forms, (*base.variants, variant))


def chosen_base(
    program: Program,
    target: Target,
    options: Sequence[Options],
    judge: Judge | None,
    samples: Samples,
    goal: Goal,
    progress: Progress,
    first: Candidate | None = None,
) -> Base:
    """Tries variants of the float program and of ranges on the plan that quantizes every region.

    A plan that names its variants gets just those. `first` is that plan without variants.
    """
    start = Base(program, options)
    wanted = [each for each in goal.variants if each.stage is not Stage.PLACED]
    if goal.scheme.observer is not None:  # the user chose the ranges
        wanted = [each for each in wanted if each.stage is not Stage.RANGES]
    if goal.plan is not None and goal.plan.variants is not None:
        for variant in wanted:
            start = extended(start, target, variant, samples, goal)
        return start
    wanted = [each for each in wanted if each.accuracy.gains == "loss"]
    trials = uniform_trials(options)
    if judge is None or not wanted or not trials or not program.observations:
        return start
    measured = judge

    def loss(base: Base) -> float:
        workshop = Workshop(base.program, target, base.options)
        return measured.loss(workshop.build(workshop.plan(trials[0])).artifact.run)

    def attempt(base: Base, variant: Variant) -> tuple[Base, float]:
        progress.advance(1, variant.text)
        found = extended(base, target, variant, samples, goal)
        return found, loss(found)

    first = first or everything(Workshop(program, target, options))
    if first is None:
        return start  # the search tries other plans, and logs why this one fails
    before = measured.loss(first.artifact.run)
    with step(progress, "try variants", len(wanted)):
        best, tried = keep_if_better(start, before, wanted, attempt, len(kept_feeds(samples)))
    return replace(best, tried=tuple(tried))
