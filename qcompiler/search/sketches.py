"""Which engines are worth a search: their float and their quantized sketch, timed briefly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qcompiler.choices.cost import uniform_trials
from qcompiler.choices.objective import LATENCY, Objective
from qcompiler.decisions.forms import region_options
from qcompiler.execution.timing import Latency
from qcompiler.measurement.baseline import Baseline
from qcompiler.measurement.candidates import Workshop, failure
from qcompiler.search.job import Job
from qcompiler.search.proof import REST, timed_beside
from qcompiler.target.artifact import Artifact
from qcompiler.target.contract import Target

_SHARE = 0.5
"""Of the seconds of the final timing."""
_ROUNDS = 5
_BEYOND_FLOAT = 1.25
"""An engine whose best sketch takes this many times another one's float is not tried."""
_BEYOND_BEST = 2.5
"""The same of another one's best sketch, which may turn out to lose too much."""
_BEYOND_FOUND = 1.25
"""The same of what another one's search has found. A search came to 0.86 of the time of the better
sketch at best (twelve trained networks, four engines)."""

_Sketches = Mapping[str, Mapping[str, Artifact]]


@dataclass(frozen=True)
class Promise:
    """An engine that may win.

    Attributes:
        name: Of the engine, as it was given.
        target: The engine.
        sketch: Time of its best sketch relative to the yardstick; None if it was not taken.
    """

    name: str
    target: Target
    sketch: Latency | None = None

    def beaten(self, found: Mapping[str, Latency]) -> str | None:
        """Why it is not worth a search any more, by what others found; None if it is."""
        if self.sketch is None or not found:
            return None
        best = min(found, key=lambda name: found[name].high)
        factor = self.sketch.low / found[best].high
        if factor <= _BEYOND_FOUND:
            return None
        return f"not tried: takes {factor:.1f}x of what was found on {best}"


def promising(
    job: Job, targets: Mapping[str, Target], yardstick: Baseline, outcomes: dict[str, str]
) -> list[Promise]:
    """The engines to search on, the fastest first; why the others are not goes to `outcomes`.

    Without samples, or where the user said what to build, or where something else than time is
    asked for, all are.
    """
    if not (job.samples.feeds and _is_for_time(job)):
        return [Promise(name, each) for name, each in targets.items() if name not in outcomes]
    sketched: dict[str, Mapping[str, Artifact]] = {}
    for name, target in targets.items():
        if name in outcomes or not target.evidence.timed:
            continue
        try:
            sketched[name] = _sketches(job, target)
        except Exception as error:  # noqa: BLE001 - engines raise what they like; it is a row
            outcomes[name] = f"failed: {failure(error)}"
    best, plain = _bounds(_timed(job, sketched, yardstick), sketched)
    for name in sketched:
        why = _hopeless(name, best, plain)
        if why is not None:
            outcomes[name] = why
    kept = [(name, each) for name, each in targets.items() if name not in outcomes]
    left = [Promise(name, each, best.get(name)) for name, each in kept]
    return sorted(left, key=lambda each: each.sketch.ratio if each.sketch else 1.0)


def _is_for_time(job: Job) -> bool:
    """Whether the search is free, and the fastest result is the best one."""
    objective = Objective.of(job.goal.objective)
    free = job.goal.scheme.is_auto and job.goal.plan is None
    return free and set(objective.weights) == {LATENCY}


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
        yardstick.artifact, runs, job.samples.feeds[:1], seconds, _ROUNDS, rest=REST
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
