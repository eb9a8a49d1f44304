"""One compilation for several engines: those that may win are searched, the best one is returned.

Each engine gets the same calibrated program. What is judged and timed is compared with one
yardstick, the float program on the first engine. An engine that fails is a row of the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from qcompiler.choices.cost import elements_per_run
from qcompiler.choices.objective import ENERGY, LATENCY, SIZE, Objective, footprint
from qcompiler.errors import LoweringError, QCompilerError
from qcompiler.execution.timing import Latency
from qcompiler.ir.plan import Plan
from qcompiler.measurement.baseline import Baseline
from qcompiler.measurement.candidates import failure
from qcompiler.measurement.loss import sqnr_db
from qcompiler.pipeline.targets import Members
from qcompiler.search.goal import EngineResult, Selection
from qcompiler.search.job import Job, baseline, selected
from qcompiler.search.proof import GAIN, PROFILE_FEEDS, REST, timed_beside
from qcompiler.search.sketches import promising
from qcompiler.target.contract import Target


@dataclass(eq=False)
class _Race:
    """What is known of every engine so far.

    Attributes:
        job: What is compiled.
        origin: Name of the engine whose float is the yardstick, and the engine.
        yardstick: That float.
        found: What each engine came to.
        outcomes: Why the others did not.
        errors: What failed, in order.
        interrupted: Whether the user ended the race.
    """

    job: Job
    origin: tuple[str, Target]
    yardstick: Baseline
    found: dict[str, tuple[Target, Selection]] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)
    interrupted: bool = False

    @property
    def is_asked(self) -> bool:
        """Whether the user said what is to be built, so that float is no answer."""
        return self.job.goal.plan is not None or not self.job.goal.scheme.is_auto

    @property
    def speeds(self) -> dict[str, Latency]:
        """What each search that found something has timed by itself."""
        return {
            name: each.latencies[each.chosen]
            for name, (_, each) in self.found.items()
            if each.candidate is not None and each.chosen in each.latencies
        }

    def timed(self) -> dict[str, Latency]:
        """All that was found in turns, beside the yardstick; empty without samples."""
        feeds = self.job.samples.feeds[:PROFILE_FEEDS]
        own = {name: each.artifact for name, (_, each) in self.found.items() if each.candidate}
        if not feeds or not all(target.evidence.timed for target, _ in self.found.values()):
            return {}
        if self.interrupted:
            return self._timed_before()
        seconds = self.job.effort.timing
        try:
            return timed_beside(self.yardstick.artifact, own, feeds, seconds, rest=REST)
        except KeyboardInterrupt:
            self.interrupted = True
            return self._timed_before()

    def _timed_before(self) -> dict[str, Latency]:
        """What each search measured by itself against the yardstick; empty unless all did."""
        found = self.speeds
        with_result = [each for _, each in self.found.values() if each.candidate is not None]
        if len(found) < len(with_result) or not found:
            return {}
        return {"float": with_result[0].latencies["float"], **found}

    def scores(self, latencies: Mapping[str, Latency]) -> dict[str, float]:
        """The objective of every engine that may be returned; lower is better."""
        objective = Objective.of(self.job.goal.objective)
        scores = {}
        for name, (_, each) in self.found.items():
            if not self.is_asked and not self._may_win(each, latencies.get(name), objective):
                continue
            ratios = {ENERGY: self._energy(each) if objective.weight(ENERGY) else 1.0}
            ratios[SIZE] = each.artifact.nbytes / max(self.yardstick.artifact.nbytes, 1)
            ratios[LATENCY] = latencies[name].ratio if name in latencies else 1.0
            scores[name] = objective.score(ratios)
        return scores

    def _may_win(self, found: Selection, latency: Latency | None, objective: Objective) -> bool:
        """Whether it is something else than the yardstick, and not slower or asked for."""
        if found.candidate is None:
            return False
        if found.demanded or latency is None or not objective.weight(LATENCY):
            return True
        return latency.ratio < (1.0 if found.candidate.is_exact else GAIN)

    def _energy(self, found: Selection) -> float:
        elements = elements_per_run(found.base, found.options, self.job.samples.seen)
        return footprint(found.options, elements).ratio(ENERGY, found.plan.precisions)


def chosen_engine(job: Job, members: Members) -> tuple[Target, Selection]:
    """The engine to return and what runs on it.

    Raises:
        QCompilerError: No engine could do it; all their reasons, or the one that they share.
    """
    if not members.several:
        return members.targets[0], selected(job, members.targets[0])
    race = _begun(job, members)
    tried = promising(job, members.named, race.yardstick, race.outcomes)
    share = _with_share_of_budget(job, len(tried))
    for each in tried:
        beaten = each.beaten(race.speeds)
        if beaten is not None:
            race.outcomes[each.name] = beaten
            continue
        try:
            found = selected(share, each.target, race.yardstick)
        except Exception as error:  # noqa: BLE001 - engines raise what they like; it is a row
            race.outcomes[each.name] = f"failed: {failure(error)}"
            race.errors.append(error)
            continue
        race.found[each.name] = each.target, found
        if found.interrupted:
            race.interrupted = True
            break
    if not race.found:
        raise _nothing(race)
    latencies = race.timed()
    scores = race.scores(latencies)
    best = min(scores, key=lambda name: scores[name], default=None)
    return _result(race, members, latencies, best)


def _with_share_of_budget(job: Job, engines: int) -> Job:
    """A budget of the user's is for all searches together."""
    budget = job.goal.budget
    if budget is None or engines < 2:
        return job
    return replace(job, goal=replace(job.goal, budget=budget / engines))


def _begun(job: Job, members: Members) -> _Race:
    """The race with the float of the first engine that runs it as the yardstick.

    Raises:
        QCompilerError: None of them runs it.
    """
    errors: list[Exception] = []
    outcomes: dict[str, str] = dict(members.absent)
    for name, target in members.named.items():
        try:
            found = baseline(job, target)
            for feed in job.samples.feeds[:1]:
                found.artifact.run(feed)
            return _Race(job, (name, target), found, outcomes=outcomes, errors=errors)
        except Exception as error:  # noqa: BLE001 - engines raise what they like; it is a row
            outcomes[name] = f"failed: {failure(error)}"
            errors.append(error)
    raise _nothing_of(outcomes, errors)


def _result(
    race: _Race, members: Members, latencies: Mapping[str, Latency], best: str | None
) -> tuple[Target, Selection]:
    if best is not None:
        target, found = race.found[best]
        summary = _summary(race, best, latencies)
    else:
        (name, target), found = race.origin, _float(race)
        summary = f"float is returned, on {name}: no engine had anything better"
    rows = tuple(_row(race, each, latencies, best) for each in _names(race, members))
    chosen = found.chosen if best is not None else "float"
    timed = {}
    if latencies:
        timed = {"float": latencies["float"], chosen: latencies[best or "float"]}
    return target, replace(
        found,
        summary=summary,
        baseline=race.yardstick.artifact,
        latencies=timed or found.latencies,
        chosen=chosen,
        engines=rows,
        interrupted=race.interrupted,
    )


def _float(race: _Race) -> Selection:
    """The yardstick itself as the result."""
    name, target = race.origin
    if name in race.found:
        found = race.found[name][1]
        if found.candidate is None:
            return found
    found = next(iter(race.found.values()))[1]
    return replace(
        found,
        artifact=race.yardstick.artifact,
        program=race.yardstick.program,
        plan=Plan(target.name, {}, rewritten=False),
        options=(),
        candidate=None,
        loss=0.0,
        chosen="float",
        score=None if found.score is None else (found.score[0], found.score[0]),
    )


def _names(race: _Race, members: Members) -> list[str]:
    return [*members.named, *members.absent]


def _row(
    race: _Race, name: str, latencies: Mapping[str, Latency], best: str | None
) -> EngineResult:
    if name not in race.found:
        outcome = race.outcomes.get(name, "not tried: the search was interrupted")
        return EngineResult(name, outcome)
    _, found = race.found[name]
    quantized = found.candidate.quantized if found.candidate else 0
    score = found.score[1] if found.score else None
    is_best = name == (best or race.origin[0])
    outcome = "chosen" if is_best else "slower" if found.candidate else ""
    if found.candidate is None:
        outcome = f"{outcome}: " if outcome else ""
        outcome += f"nothing better than float on {race.origin[0]}"
    return EngineResult(name, outcome, latencies.get(name), found.loss, score, quantized, is_best)


def _summary(race: _Race, name: str, latencies: Mapping[str, Latency]) -> str:
    _, found = race.found[name]
    total, quantized = len(found.options), found.candidate.quantized if found.candidate else 0
    told = f"{name} of {len(race.found)} engines: {quantized} of {total} regions quantized"
    if name in latencies:
        told += f", {latencies[name].speed} of float on {race.origin[0]}"
    if found.loss is not None and found.candidate and not found.candidate.is_exact:
        told += f", SQNR {sqnr_db(found.loss):.1f} dB"
    return told


def _nothing(race: _Race) -> Exception:
    return _nothing_of(race.outcomes, race.errors)


def _nothing_of(outcomes: Mapping[str, str], errors: list[Exception]) -> Exception:
    """The reason that all engines share, or all their reasons."""
    if errors and len({_heading(each) for each in errors}) == 1:
        return errors[0]
    told = "; ".join(f"{name}: {why}" for name, why in outcomes.items())
    first = next((each for each in errors if isinstance(each, QCompilerError)), None)
    return LoweringError(
        "no engine can run what was asked for",
        where=first.where if first else None,
        why=told,
        fix="name one engine as the target to see its reasons in full",
    )


def _heading(error: Exception) -> str:
    return error.what if isinstance(error, QCompilerError) else repr(error)
