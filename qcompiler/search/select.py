"""From a calibrated program to the configuration that is returned."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import replace
from functools import partial

from qcompiler.config import Recipe
from qcompiler.decisions.forms import region_options
from qcompiler.ir.program import Program
from qcompiler.measurement.candidates import Workshop
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.pace import Pace
from qcompiler.measurement.parts import Slicer
from qcompiler.measurement.trying import Allowance
from qcompiler.outputs.asked import DEFAULT_NSR
from qcompiler.pipeline.contract import Progress, Stage
from qcompiler.search.acceptance import Acceptance
from qcompiler.search.asked import asked_plan, built, over_bound, over_score
from qcompiler.search.base import Base, allowance_of
from qcompiler.search.base_choice import chosen_base, idle_variants
from qcompiler.search.goal import DEFAULT_SCORE_LOSS, Goal, Samples, Selection
from qcompiler.search.outcome import Outcome
from qcompiler.search.rescue import rescued
from qcompiler.search.rewrites import faster_base
from qcompiler.search.searched import searched
from qcompiler.search.setting import Setting
from qcompiler.search.state import Clock
from qcompiler.target.artifact import Artifact
from qcompiler.target.contract import Target

__all__ = [
    "DEFAULT_NSR",
    "DEFAULT_SCORE_LOSS",
    "Goal",
    "Samples",
    "Selection",
    "select",
]


def select(
    source: Program,
    program: Program,
    target: Target,
    samples: Samples,
    goal: Goal,
    effort: Recipe,
    progress: Progress,
    executor: Executor | None = None,
    baseline: Artifact | None = None,
    slicer: Slicer | None = None,
) -> Selection:
    """Builds what the goal asks for; with the scheme `auto`, searches and proves it by timing."""
    options = region_options(program, target, target.regions(program), goal.overrides)
    baseline = baseline or target.lower(source)
    judge = _judge(slicer or Slicer(source), target, baseline, samples, goal)
    priced = target.evidence.priced
    searching = goal.plan is None and goal.scheme.is_auto and priced and judge is not None
    clock = Clock.of(goal.budget, effort.seconds, effort.trying, executor is None)
    base, interrupted = Base(Workshop(program, target, options, judge)), False
    allowance = Allowance()
    try:
        base = faster_base(base, target, judge, samples, goal, effort, progress)
        program = base.program
        allowance = allowance_of(clock, judge, samples, goal, searching)
        base = chosen_base(
            base, samples, goal, searching=searching, allowance=allowance, progress=progress
        )
    except KeyboardInterrupt:
        if not searching:
            raise
        interrupted = True
    base = replace(base, tried=(*base.tried, *idle_variants(goal, searching)))
    placed = [each for each in goal.variants if each.stage is Stage.PLACED]
    workshop = base.workshop
    workshop.variants, workshop.fitting, workshop.executor = placed, samples.fitting, executor
    workshop.pace = _pace(source, target, samples) if target.evidence.timed else None
    workshop.allowance = base.to_refine(allowance, clock)
    setting = Setting(
        source, baseline, base, samples, goal, effort, progress, executor, clock
    )  # fmt: skip
    found = searched(setting, interrupted) if searching else _as_asked(setting)
    return replace(found, observed=program.observations)


def _judge(
    slicer: Slicer, target: Target, baseline: Artifact, samples: Samples, goal: Goal
) -> Judge | None:
    """Who judges candidates; None where they do not run or there is nothing to run."""
    if not (target.evidence.judged and samples.feeds):
        return None
    judging = partial(goal.tolerances, slicer.program)
    return Judge(samples.feeds, baseline.run, slicer, judging, samples.apart)


def _pace(source: Program, target: Target, samples: Samples) -> Pace:
    one = target.single_threaded()
    return Pace(lambda: one.lower(source), samples.feeds)


def _as_asked(setting: Setting) -> Selection:
    """One plan: a given one, or one precision wherever it is legal."""
    workshop, goal, acceptance = setting.workshop, setting.goal, Acceptance(setting)
    plan = setting.base.asked or asked_plan(workshop, goal)
    if plan.is_source:
        summary = "float is returned, as the plan has it"
        return replace(
            Outcome(None, "float", {}).selection(setting, acceptance, summary), plan=plan
        )
    given = plan.variants is not None
    candidate = built(workshop, plan, workshop.variants if given else ())
    candidate = candidate if given else workshop.refined(candidate)
    candidate, spared = rescued(workshop, candidate, goal, setting.samples)
    latencies = setting.timed({"compiled": candidate.artifact})
    summary = f"{candidate.quantized} of {len(workshop.options)} regions as asked"
    outcome = Outcome(candidate, "compiled", latencies, (candidate,))
    chosen = outcome.selection(setting, acceptance, summary)
    over = [*spared, *over_bound(workshop, candidate, goal)]
    over += over_score(chosen.score, goal) if chosen.score else []
    return replace(chosen, warnings=tuple(over))
