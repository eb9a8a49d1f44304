"""Which engines are worth a search: their float and their quantized sketch, timed briefly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qcompiler.choices.cost import uniform_trials
from qcompiler.decisions.forms import region_options
from qcompiler.execution.timing import Latency
from qcompiler.measurement.baseline import Baseline
from qcompiler.measurement.candidates import Workshop, failure
from qcompiler.search.job import Job
from qcompiler.search.proof import timed_beside
from qcompiler.target.artifact import Artifact
from qcompiler.target.contract import Target

_SHARE = 0.5
"""Of the seconds of the final timing."""
_ROUNDS = 5
_BEYOND_FLOAT = 1.25
"""An engine whose best sketch takes this many times another one's float is not tried."""
_BEYOND_BEST = 2.5
"""The same of another one's best sketch, which may turn out to lose too much."""

_Sketches = Mapping[str, Mapping[str, Artifact]]


def promising(
    job: Job, targets: Sequence[Target], yardstick: Baseline, outcomes: dict[str, str]
) -> list[Target]:
    """The engines to search on, the fastest first; why the others are not goes to `outcomes`.

    Without samples, or where the user said what to build, all are.
    """
    if not (job.samples.feeds and job.goal.scheme.is_auto and job.goal.plan is None):
        return [each for each in targets if each.name not in outcomes]
    sketched: dict[str, Mapping[str, Artifact]] = {}
    for target in targets:
        if target.name in outcomes or not target.evidence.timed:
            continue
        try:
            sketched[target.name] = _sketches(job, target)
        except Exception as error:  # noqa: BLE001 - engines raise what they like; it is a row
            outcomes[target.name] = f"failed: {failure(error)}"
    best, plain = _bounds(_timed(job, sketched, yardstick), sketched)
    for name in sketched:
        why = _hopeless(name, best, plain)
        if why is not None:
            outcomes[name] = why
    left = [each for each in targets if each.name not in outcomes]
    return sorted(left, key=lambda each: best[each.name].ratio if each.name in best else 1.0)


def _sketches(job: Job, target: Target) -> dict[str, Artifact]:
    """Float after the rewrites, and everything quantized if that runs."""
    regions = target.regions(job.program)
    options = region_options(job.program, target, regions, job.goal.overrides)
    workshop = Workshop(job.program, target, options)
    feed = job.samples.feeds[0]
    found = {"float": workshop.build(workshop.plan({})).artifact}
    found["float"].run(feed)
    for trial in uniform_trials(options)[:1]:
        candidate = workshop.measured(workshop.plan(trial))
        if candidate is not None:
            try:
                candidate.artifact.run(feed)
            except Exception:  # noqa: BLE001, S112 - the search tells why this plan fails
                continue
            found["quantized"] = candidate.artifact
    return found


def _timed(job: Job, sketched: _Sketches, yardstick: Baseline) -> dict[str, Latency]:
    runs = {
        f"{name} {kind}": artifact
        for name, each in sketched.items()
        for kind, artifact in each.items()
    }
    seconds = _SHARE * job.effort.timing
    return timed_beside(
        yardstick.artifact, runs, job.samples.feeds[:1], seconds, _ROUNDS, rest=0.002
    )


def _bounds(
    timed: Mapping[str, Latency], sketched: _Sketches
) -> tuple[dict[str, Latency], dict[str, Latency]]:
    """Of each engine, its fastest sketch and its float."""
    best, plain = {}, {}
    for name, kinds in sketched.items():
        best[name] = min((timed[f"{name} {kind}"] for kind in kinds), key=lambda each: each.ratio)
        plain[name] = timed[f"{name} float"]
    return best, plain


def _hopeless(name: str, best: Mapping[str, Latency], plain: Mapping[str, Latency]) -> str | None:
    """Why an engine cannot win, by the ends of intervals that favour it; None if it may."""
    own = best[name].low
    for other in best:
        if other != name and own > _BEYOND_FLOAT * plain[other].high:
            return f"not tried: takes {own / plain[other].high:.1f}x of {other} in float"
        if other != name and own > _BEYOND_BEST * best[other].high:
            return f"not tried: takes {own / best[other].high:.1f}x of {other}"
    return None
