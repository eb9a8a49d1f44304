"""Rewrites of the float program that are kept where what runs is faster on the target.

A rewrite that is exact can still cost: more products for fewer passes over memory, three integer
kernels for one function in float. Which it is depends on the engine, on sizes, and on whether the
neighbours are integers. So each is built in the forms that a plan may take it in (float, every
region quantized, and each region in what its profile says is cheaper), before and after, and the
best of either side are timed in turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qcompiler.choices.cost import uniform_trials
from qcompiler.config import Recipe
from qcompiler.execution.timing import Latency
from qcompiler.ir.signature import Feed
from qcompiler.measurement.candidates import Candidate, Workshop, failure
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.trying import IDLE, Tried
from qcompiler.measurement.variants import Variant
from qcompiler.pipeline.contract import PassContext, Progress, step
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.search.base import Base, extended
from qcompiler.search.goal import Goal, Samples
from qcompiler.search.proof import timed_beside
from qcompiler.target.artifact import Artifact, CostSample
from qcompiler.target.contract import Target

_SHARE = 0.3
"""Of the seconds of the final timing, for each of the two timings of a rewrite."""
_ROUNDS = 5
_MORE_LOSS = 1.25
"""Factor by which everything quantized may lose more with a rewrite, where it loses too much."""
_FLOAT, _QUANTIZED, _MIXED = "float", "quantized", "mixed"


def faster_base(
    start: Base,
    target: Target,
    judge: Judge | None,
    samples: Samples,
    goal: Goal,
    effort: Recipe,
    progress: Progress,
) -> Base:
    """The base with those rewrites of the goal that make what runs on the target faster.

    Nothing is tried without samples, on a target that is not timed, or under a plan, which names
    the variants that it was made with.
    """
    if goal.plan is not None or not samples.feeds or not target.evidence.timed:
        return start
    fitting = [variant for variant in goal.variants if variant.accuracy.gains == "latency"]
    fitting = [variant for variant in fitting if _applies(variant, start, target)]
    if not fitting:
        return start
    base, tried = start, []
    with step(progress, "try rewrites", len(fitting)):
        for variant in fitting:
            progress.advance(1, variant.text)
            if not _applies(variant, base, target):
                continue
            base, outcome = _attempt(base, variant, target, judge, samples, goal, effort)
            tried.append(outcome)
    return replace(base, tried=tuple(tried))


def _applies(variant: Variant, base: Base, target: Target) -> bool:
    copy = base.program.clone()
    return Pipeline.parse(variant.text).run(copy, PassContext(target)).modified


def _attempt(
    base: Base,
    variant: Variant,
    target: Target,
    judge: Judge | None,
    samples: Samples,
    goal: Goal,
    effort: Recipe,
) -> tuple[Base, Tried]:
    """The base to go on with, and what came of the rewrite."""
    searching = goal.scheme.is_auto and goal.plan is None
    try:
        found = extended(base, variant, samples, goal)
        if found is None:
            return base, Tried(variant.text, 0.0, None, False, IDLE, unit="s")
        if _pinned(base) - _pinned(found):
            return base, Tried(
                variant.text, 0.0, None, False, "overrides name what it replaces", unit="s"
            )
        before = _forms(base, target, samples.feeds[:1], searching)
        after = _forms(found, target, samples.feeds[:1], searching)
        seconds, gained = _compared(before, after, samples.feeds, _SHARE * effort.timing)
    except Exception as error:  # noqa: BLE001 - engines raise what they like; it is reported
        return base, Tried(variant.text, 0.0, None, False, failure(error), unit="s")
    too_lossy = gained.faster and _loses(judge, before, after)
    note = "loses more" if too_lossy else gained.evidence
    kept = gained.faster and not too_lossy
    told = Tried(variant.text, seconds, gained.seconds, kept, note, unit="s")
    return (found if kept else base), told


def _pinned(base: Base) -> set[tuple[str, str]]:
    """Regions that the user gave a precision."""
    return {(each.region.key, each.pinned) for each in base.options if each.pinned}


def _forms(
    base: Base, target: Target, feeds: Sequence[Feed], searching: bool
) -> dict[str, Candidate]:
    """What a plan for this base may look like."""
    workshop = Workshop(base.program, target, base.options)
    plain = workshop.build(workshop.plan({}))
    trials = uniform_trials(base.options)[:1] if base.program.observations else []
    if not trials:
        return {_FLOAT: plain}
    whole = workshop.build(workshop.plan(trials[0]))
    if not searching:
        return {_QUANTIZED: whole}
    found = {_FLOAT: plain, _QUANTIZED: whole}
    profiles = plain.artifact.profile(feeds), whole.artifact.profile(feeds)
    mixed = _cheaper(trials[0], *profiles)
    if mixed and len(mixed) < len(trials[0]):
        found[_MIXED] = workshop.build(workshop.plan(mixed))
    return found


def _cheaper(
    trial: dict[str, str], plain: CostSample | None, whole: CostSample | None
) -> dict[str, str]:
    """The quantized forms that take less time than float; what a neighbour took in is free."""
    if plain is None or whole is None:
        return {}
    return {
        key: form
        for key, form in trial.items()
        if whole.regions.get(key, 0.0) < plain.regions.get(key, 0.0)
    }


def _compared(
    before: dict[str, Candidate],
    after: dict[str, Candidate],
    feeds: Sequence[Feed],
    seconds: float,
) -> tuple[float, Latency]:
    """Seconds of the best form before, and the time of the best one after beside it."""
    sides = {"before": before, "after": after}
    runs = {
        f"{side} {name}": each.artifact
        for side, forms in sides.items()
        for name, each in forms.items()
    }
    first = next(iter(runs.values()))
    quick = timed_beside(first, runs, feeds[:1], seconds, _ROUNDS)

    def best(side: str) -> Artifact:
        names = [name for name in runs if name.startswith(side)]
        return runs[min(names, key=lambda name: quick[name].ratio)]

    timed = timed_beside(best("before"), {"after": best("after")}, feeds[:2], seconds)
    return timed["float"].seconds, timed["after"]


def _loses(judge: Judge | None, before: dict[str, Candidate], after: dict[str, Candidate]) -> bool:
    """Whether everything quantized loses much more with the rewrite, so that less of it can be."""
    if judge is None or _QUANTIZED not in before or _QUANTIZED not in after:
        return False
    old, new = (judge.loss(each[_QUANTIZED].artifact.run) for each in (before, after))
    return new > max(_MORE_LOSS * old, judge.limit)
