"""Which variants a base is left with: those of plans, the float program and ranges that help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qcompiler.measurement.judge import Judgement
from qcompiler.measurement.trying import Allowance, Tried, helps, keep_if_better
from qcompiler.measurement.variants import Variant
from qcompiler.pipeline.contract import Progress, Silent, Stage, step
from qcompiler.search.asked import asked_plan
from qcompiler.search.base import Base, Yardstick, extended, judged_plan, named
from qcompiler.search.goal import Goal, Samples
from qcompiler.search.replanning import changes, replanned, with_changes

SEARCHED = "a search chooses by itself which regions stay float"
PLANNED = "the plan says itself which regions stay float"
"""Said of variants of plans that are asked for where there is nothing for them to do."""
UNNEEDED = "with the others it is not needed"
"""Said of a variant of the plan that was taken back behind those of the program."""


def chosen_base(
    start: Base,
    samples: Samples,
    goal: Goal,
    *,
    searching: bool = True,
    allowance: Allowance | None = None,
    progress: Progress | None = None,
) -> Base:
    """Tries variants of the float program and of ranges, on the plan that a `Yardstick` says.

    The workshop's judge takes its bounds from the noise of that plan. A plan that names its
    variants gets just those.

    Args:
        start: The program without them.
        samples: What is fitted to, and judged on.
        goal: What is asked for.
        searching: Whether a search follows.
        allowance: What variants may cost; anything if absent.
        progress: Told of every variant.
    """
    yardstick = Yardstick(goal, searching)
    wanted = _of_program(goal)
    if goal.plan is not None and goal.plan.variants is not None:
        return _as_named(start, wanted, yardstick, samples)
    wanted = [each for each in wanted if each.accuracy.gains == "loss"]
    first = yardstick.built(start.workshop)
    asked = None if searching or first is None else first.plan
    start = replace(start, build_seconds=yardstick.seconds, asked=asked)
    judge = start.workshop.judge
    if first is None or judge is None or first.judgement is None:
        return start
    planning = _of_plan(goal) if asked is not None and goal.plan is None else []
    untried = not (wanted or planning) or not start.program.observations
    if searching or not untried:
        first.artifact.release()
    if untried:
        return start
    spent = replace(allowance or Allowance(), build_seconds=yardstick.seconds)
    spent.enough *= judge.limit
    spent.limit, spent.program = judge.limit, start.program
    trial = _Trial(start, samples, yardstick, spent, progress or Silent())
    return trial.best(first.judgement, planning, wanted)


def idle_variants(goal: Goal, searching: bool) -> tuple[Tried, ...]:
    """A line for each variant of plans that the user names beside a search or a plan.

    A plan that names its variants holds what they decided.
    """
    if not searching and (goal.plan is None or goal.plan.variants is not None):
        return ()
    why = SEARCHED if searching else PLANNED
    named = (each for each in goal.variants if each.asked)
    idle = (each for each in named if each.stage in (Stage.PLAN, Stage.LAST))
    return tuple(Tried(each.text, 0.0, None, False, why) for each in idle)


def _of_program(goal: Goal) -> list[Variant]:
    """Variants of the float program and of ranges, unless the user chose the ranges."""
    chosen = goal.scheme.observer is not None
    stages = (Stage.FLOAT,) if chosen else (Stage.FLOAT, Stage.RANGES)
    return [each for each in goal.variants if each.stage in stages]


def _of_plan(goal: Goal) -> list[Variant]:
    return [each for each in goal.variants if each.stage is Stage.PLAN]


def _as_named(
    start: Base, wanted: Sequence[Variant], yardstick: Yardstick, samples: Samples
) -> Base:
    """With the variants that a plan names; what those of plans decided is in the plan itself."""
    for variant in wanted:
        start = extended(start, variant, samples, yardstick.goal) or named(start, variant)
    found = yardstick.built(start.workshop)
    return replace(start, asked=None if yardstick.searching or found is None else found.plan)


@dataclass(frozen=True, eq=False)
class _Trial:
    """Variants that are tried on a yardstick, those of the plan first: what drowns hides the rest.

    Attributes:
        start: The base without them.
        samples: What is fitted to, and judged on.
        yardstick: What they are tried on.
        allowance: What they may cost.
        progress: Told of each.
    """

    start: Base
    samples: Samples
    yardstick: Yardstick
    allowance: Allowance
    progress: Progress

    def best(
        self, known: Judgement, planning: Sequence[Variant], wanted: Sequence[Variant]
    ) -> Base:
        """The base with the variants that help, from what is lost without them."""
        start, asked, yardstick = self.start, self.start.asked, self.yardstick
        with step(self.progress, "try variants", len(planning) + len(wanted)):
            base, tried = keep_if_better(start, known, planning, self._attempt, self.allowance)
            if asked is not None and base.asked is not None and base.asked is not asked:
                yardstick.changed = changes(asked, base.asked)
                known = yardstick.judged(start.workshop)
            base, more = keep_if_better(base, known, wanted, self._attempt, self.allowance)
        base = replace(base, tried=(*start.tried, *tried, *more))
        return _settled(base, yardstick) if yardstick.changed else base

    def _attempt(self, base: Base, variant: Variant) -> tuple[Base, Judgement] | None:
        self.progress.advance(1, variant.text)
        if variant.stage is Stage.PLAN:
            return _replanned(base, variant, self.samples, self.yardstick.goal)
        found = extended(base, variant, self.samples, self.yardstick.goal)
        return None if found is None else (found, self.yardstick.judged(found.workshop))


def _replanned(
    base: Base, variant: Variant, samples: Samples, goal: Goal
) -> tuple[Base, Judgement] | None:
    """The base with a variant of the plan that was asked for; None if it changes nothing."""
    assert base.asked is not None
    workshop = base.workshop
    plan = replanned(workshop, base.asked, variant, goal, samples.fitting or samples.feeds)
    if plan is None:
        return None
    return replace(base, asked=plan), judged_plan(workshop, plan)


def _settled(base: Base, yardstick: Yardstick) -> Base:
    """The base with the plan that variants left, or the one that was asked for if that will do.

    What variants of the plan gave up may not be needed any more with those of the program.
    """
    workshop = base.workshop
    assert workshop.judge is not None
    asked = asked_plan(workshop, yardstick.goal)
    changed = with_changes(workshop, asked, yardstick.changed)
    whole = judged_plan(workshop, asked)
    within = whole.good and whole.loss <= workshop.judge.limit
    if not within and helps(judged_plan(workshop, changed), whole, Stage.PLAN):
        return replace(base, asked=changed)
    tried = (
        replace(each, kept=False, note=UNNEEDED)
        if each.kept and Variant(each.variant).stage is Stage.PLAN
        else each
        for each in base.tried
    )
    return replace(base, asked=asked, tried=tuple(tried))
