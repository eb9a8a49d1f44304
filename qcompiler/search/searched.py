"""The scheme `auto`: searches under the goal, then proves the best few by timing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from qcompiler.choices.cost import CostModel, elements_per_run, uniform_trials
from qcompiler.choices.objective import Objective, footprint
from qcompiler.decisions.placement import ValueKey
from qcompiler.decisions.resolve import resolve
from qcompiler.execution.timing import Latency
from qcompiler.measurement.candidates import Candidate
from qcompiler.measurement.gate import GateModel
from qcompiler.measurement.gates import gate_model
from qcompiler.quantization.qspace import QParams
from qcompiler.search.acceptance import Acceptance
from qcompiler.search.attempts import Attempts
from qcompiler.search.cache import CostCache
from qcompiler.search.explain import explained, tried
from qcompiler.search.goal import Selection
from qcompiler.search.hurry import hurried
from qcompiler.search.loop import Search
from qcompiler.search.outcome import Outcome
from qcompiler.search.proof import PROFILE_FEEDS, REWRITTEN, choose, cross_checked
from qcompiler.search.setting import Setting
from qcompiler.search.state import Limits

_FINALISTS = 3


def searched(setting: Setting, interrupted: bool) -> Selection:
    """What the search finds, timed against float.

    After an interruption, also of the timing, nothing is built, scored or refined: the best so far
    is returned within about a second.

    Args:
        setting: What is searched with.
        interrupted: Whether the user pressed Ctrl-C before.
    """
    acceptance = Acceptance(setting, interrupted)
    search = _search(setting, acceptance)
    state = search.state if interrupted else search.run()
    late = search.limits.expired
    acceptance.interrupted |= state.interrupted
    proved = _Proving(setting, acceptance, search).proved()
    outcome = Outcome(
        proved.candidate,
        proved.chosen,
        proved.latencies,
        tuple(setting.workshop.known(each) for each in state.frontier),
        (*setting.base.log, *state.log),
    )
    timed = _best_timed(proved.latencies)
    summary = outcome.summary(setting, tried(state.frontier, setting.limit, late, timed))
    summary += "; the search was interrupted" if acceptance.interrupted else ""
    return _told(outcome.selection(setting, acceptance, summary), search, setting)


def _best_timed(latencies: Mapping[str, Latency]) -> str:
    """How many times faster than float the best contender with integers was; empty if none ran."""
    integers = [each for name, each in latencies.items() if name not in ("float", REWRITTEN)]
    return min(integers, key=lambda each: each.ratio).speed if integers else ""


def _told(selection: Selection, search: Search, setting: Setting) -> Selection:
    """With times, losses and a reason for every region."""
    state, workshop = search.state, setting.workshop
    model = workshop.target.evidence.model
    plan = explained(
        selection.plan, workshop.options, search.attempts.costs, state.losses, model, setting.limit
    )
    predicted = selection.candidate.predicted if selection.candidate else None
    if predicted is None and state.sensitivities is not None:
        predicted = state.sensitivities.of_plan(plan.precisions)
    losses = {} if state.losses is None else state.losses.of_choices()
    return replace(selection, plan=plan, predicted=predicted, losses=losses)


def _search(setting: Setting, acceptance: Acceptance) -> Search:
    workshop, effort = setting.workshop, setting.effort
    options = workshop.options
    elements = elements_per_run(workshop.program, options, setting.samples.seen)
    limits = Limits(
        setting.limit,
        setting.clock.deadline,
        effort.rounds,
        effort.probes,
        refine_above=0.0 if setting.goal.evaluate else setting.limit,
        strict=setting.clock.strict,
        now=setting.clock.now,
    )
    attempts = Attempts(
        workshop,
        CostModel(elements, workshop.target.conversion_cost()),
        limits,
        setting.samples.feeds[:PROFILE_FEEDS],
        Objective.of(setting.goal.objective),
        footprint(options, elements),
        setting.progress,
    )
    gates = partial(_gates, setting)
    return Search(attempts, acceptance.accepts, gates, _cache(setting), setting.executor)


def _cache(setting: Setting) -> CostCache:
    """Where measured times are kept; what a model says is computed anew."""
    target = setting.workshop.target
    key = f"{target!r}|{target.engine_version}"
    return CostCache.open(key) if target.evidence.timed else CostCache(None)


def _gates(setting: Setting) -> GateModel:
    """The switchable model, with the scales of the plan that quantizes every region."""
    workshop = setting.workshop
    values: Mapping[ValueKey, QParams] = {}
    trials = uniform_trials(workshop.options)
    if trials:
        plan = workshop.plan(trials[0])
        program = workshop.program
        placement = resolve(program.observations, workshop.options, plan, program.absorbed)
        values = placement.values
    return gate_model(workshop.program, workshop.options, values)


class _Proved(NamedTuple):
    """The contender that won, None for float, and what all of them take."""

    candidate: Candidate | None
    chosen: str
    latencies: Mapping[str, Latency]


@dataclass(frozen=True, eq=False)
class _Proving:
    setting: Setting
    acceptance: Acceptance
    search: Search

    def proved(self) -> _Proved:
        """The best of the finalists by their timing, which score and decisions allow."""
        try:
            finalists, latencies = self._timed()
        except KeyboardInterrupt:
            if self.acceptance.interrupted:
                raise
            self.acceptance.interrupted = True
            finalists, latencies = self._timed()
        while True:
            chosen = self._choose(finalists, latencies)
            candidate = finalists.get(chosen)
            if candidate is None or self.acceptance.accepts(candidate):
                return _Proved(candidate, chosen, latencies)
            del finalists[chosen]  # float rewritten, whose rounding the user's score minds

    def _choose(self, finalists: Mapping[str, Candidate], latencies: Mapping[str, Latency]) -> str:
        demanded = any(each.demanded for each in self.setting.workshop.options)
        size = self.setting.baseline.nbytes
        known = self.search.attempts
        return choose(known.objective, finalists, latencies, known.prints, size, demanded)

    def _timed(self) -> tuple[dict[str, Candidate], dict[str, Latency]]:
        """Finalists, and their times as far as there is time to take them."""
        finalists = self._finalists()
        if self.acceptance.interrupted:
            proof = self.setting.proof
            return finalists, hurried(proof, finalists, self.search.state.frontier)
        timed = self.setting.timed({name: each.artifact for name, each in finalists.items()})
        threads = self.setting.workshop.target.most_threads
        return finalists, cross_checked(timed, finalists, threads)

    def _finalists(self) -> dict[str, Candidate]:
        """The best good candidates by profile, and the rewritten float program.

        The user's score is computed for as few as it takes, the most promising first. Where the
        user's budget is spent, the most promising one alone is proved.
        """
        workshop, interrupted = self.setting.workshop, self.acceptance.interrupted
        over = self.search.limits.over or interrupted
        within = [
            each
            for each in self.search.state.frontier
            if each.loss is not None and each.loss <= self.setting.limit
        ]
        scored = self.setting.goal.evaluate is not None
        good: list[Candidate] = []
        for each in sorted((c for c in within if c.quantized), key=self.search.attempts.score):
            unknown = interrupted and scored and each.score is None
            wanted = len(good) < (1 if over else _FINALISTS)
            if wanted and not unknown and self.acceptance.accepts(each):
                good.append(each)
        proved = map(workshop.known if over else workshop.refined, good)
        named = {f"candidate {i}": each for i, each in enumerate(proved)}
        rewritten = [] if interrupted else [each for each in within if not each.quantized]
        return named | dict(zip([REWRITTEN], rewritten, strict=False))
