"""From a calibrated program to the configuration that is returned: search, then proof by timing."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

from qcompiler.choices.cost import CostModel, elements_per_run, uniform_trials
from qcompiler.choices.objective import Objective, footprint
from qcompiler.config import Recipe
from qcompiler.decisions.forms import broken_weights, region_options
from qcompiler.decisions.placement import ValueKey
from qcompiler.decisions.resolve import resolve
from qcompiler.execution.timing import Latency
from qcompiler.ir.program import Program
from qcompiler.measurement.candidates import Candidate, Workshop
from qcompiler.measurement.gate import GateModel
from qcompiler.measurement.gates import gate_model
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.loss import sqnr_db
from qcompiler.measurement.pace import Pace
from qcompiler.measurement.parts import Slicer
from qcompiler.measurement.scoring import Scorer
from qcompiler.measurement.trying import Allowance
from qcompiler.outputs.asked import DEFAULT_NSR
from qcompiler.pipeline.contract import Progress, Stage, step
from qcompiler.quantization.qspace import QParams
from qcompiler.search.as_it_came import plan_of_source, planned_source, unmet_overrides
from qcompiler.search.asked import asked_plan, built, over_bound, over_score
from qcompiler.search.base import Base, allowance_of
from qcompiler.search.base_choice import chosen_base
from qcompiler.search.cache import CostCache
from qcompiler.search.explain import explained, tried
from qcompiler.search.goal import DEFAULT_SCORE_LOSS, Goal, Samples, Selection
from qcompiler.search.hurry import hurried
from qcompiler.search.loop import Search
from qcompiler.search.proof import PROFILE_FEEDS, REWRITTEN, Proof, choose, cross_checked
from qcompiler.search.rewrites import faster_base
from qcompiler.search.state import Clock, Limits
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

_FINALISTS = 3


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
    clock = Clock.of(goal.budget, effort.seconds, effort.trying)
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
    placed = [each for each in goal.variants if each.stage is Stage.PLACED]
    workshop = base.workshop
    workshop.variants, workshop.fitting, workshop.executor = placed, samples.fitting, executor
    workshop.pace = _pace(source, target, samples) if target.evidence.timed else None
    workshop.allowance = base.to_refine(allowance, clock)
    chooser = _Chooser(
        source,
        baseline,
        workshop,
        base,
        samples,
        goal,
        effort,
        progress,
        executor,
        clock,
        interrupted,
    )
    found = chooser.search() if searching else chooser.fixed()
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


@dataclass(eq=False)
class _Chooser:
    source: Program
    baseline: Artifact
    workshop: Workshop
    base: Base
    samples: Samples
    goal: Goal
    effort: Recipe
    progress: Progress
    executor: Executor | None
    clock: Clock
    interrupted: bool = False
    _float_score: float | None = None

    def fixed(self) -> Selection:
        """One plan, as asked: a given one, or one precision wherever it is legal."""
        plan = self.base.asked or asked_plan(self.workshop, self.goal)
        if plan.is_source:
            summary = "float is returned, as the plan has it"
            return replace(self._selection(None, "float", summary, {}, (), ()), plan=plan)
        asked = plan.variants is not None
        candidate = built(self.workshop, plan, self.workshop.variants if asked else ())
        candidate = candidate if asked else self.workshop.refined(candidate)
        latencies = self._timed({"compiled": candidate.artifact})
        summary = f"{candidate.quantized} of {len(self.workshop.options)} regions as asked"
        chosen = self._selection(candidate, "compiled", summary, latencies, (candidate,), ())
        over = over_bound(self.workshop, candidate, self.goal)
        over += over_score(chosen.score, self.goal) if chosen.score else []
        return replace(chosen, warnings=tuple(over))

    def _timed(self, contenders: Mapping[str, Artifact]) -> dict[str, Latency]:
        with step(self.progress, "time against float"):
            return self._proof.timed(contenders)

    @property
    def _proof(self) -> Proof:
        effort = self.effort
        return Proof(self.baseline, self.workshop, self.samples.feeds, effort.timing, effort.turns)

    def search(self) -> Selection:
        """Searches under the goal, then times the best few against float.

        After an interruption, also of the timing, nothing is built, scored or refined: the best so
        far is returned within about a second.
        """
        options = self.workshop.options
        elements = elements_per_run(self.workshop.program, options, self.samples.seen)
        costs = CostModel(elements, self.workshop.target.conversion_cost())
        limits = Limits(
            self._limit,
            self.clock.deadline,
            self.effort.rounds,
            self.effort.probes,
            refine_above=0.0 if self.goal.evaluate else self._limit,
            strict=self.clock.strict,
        )
        search = Search(
            self.workshop,
            costs,
            limits,
            self._accept,
            self.samples.feeds[:PROFILE_FEEDS],
            self._gates,
            Objective.of(self.goal.objective),
            footprint(options, elements),
            self._cache(),
            self.executor,
            self.progress,
        )
        state = search.state if self.interrupted else search.run()
        late = search.limits.expired
        self.interrupted |= state.interrupted
        try:
            finalists, latencies = self._proved(search)
        except KeyboardInterrupt:
            if self.interrupted:
                raise
            self.interrupted = True
            finalists, latencies = self._proved(search)
        demanded = any(each.demanded for each in options)
        asked = (
            search.objective, finalists, latencies, search.prints, self.baseline.nbytes, demanded
        )  # fmt: skip
        chosen = choose(*asked)
        candidate = finalists.get(chosen)
        while candidate is not None and not self._accept(candidate):
            del finalists[chosen]  # float rewritten, whose rounding the user's score minds
            chosen = choose(*asked)
            candidate = finalists.get(chosen)
        became = tried(state.frontier, self._limit, late)
        summary = self._summary(candidate, latencies, chosen, became)
        summary += "; the search was interrupted" if self.interrupted else ""
        frontier = tuple(self.workshop.known(each) for each in state.frontier)
        selection = self._selection(
            candidate, chosen, summary, latencies, frontier, (*self.base.log, *state.log)
        )
        model = self.workshop.target.evidence.model
        plan = explained(selection.plan, options, costs, state.losses, model, self._limit)
        predicted = candidate.predicted if candidate else None
        if predicted is None and state.sensitivities is not None:
            predicted = state.sensitivities.of_plan(plan.precisions)
        losses = {} if state.losses is None else state.losses.of_choices()
        return replace(selection, plan=plan, predicted=predicted, losses=losses)

    def _proved(self, search: Search) -> tuple[dict[str, Candidate], dict[str, Latency]]:
        """Finalists, and their times as far as there is time to take them."""
        finalists = self._finalists(search)
        if self.interrupted:
            return finalists, hurried(self._proof, finalists, search.state.frontier)
        timed = self._timed({name: each.artifact for name, each in finalists.items()})
        return finalists, cross_checked(timed, finalists, self.workshop.target.most_threads)

    def _cache(self) -> CostCache:
        """Where measured times are kept; what a model says is computed anew."""
        target = self.workshop.target
        key = f"{target!r}|{target.engine_version}"
        return CostCache.open(key) if target.evidence.timed else CostCache(None)

    def _gates(self) -> GateModel:
        """The switchable model, with the scales of the plan that quantizes every region."""
        workshop = self.workshop
        values: Mapping[ValueKey, QParams] = {}
        trials = uniform_trials(workshop.options)
        if trials:
            plan = workshop.plan(trials[0])
            program = workshop.program
            placement = resolve(program.observations, workshop.options, plan, program.absorbed)
            values = placement.values
        return gate_model(workshop.program, workshop.options, values)

    def _accept(self, candidate: Candidate) -> bool:
        """Whether score or decisions allow the candidate, measured once on what is returned."""
        if self.goal.evaluate is None:
            return self._keeps_decisions(candidate)
        scorer = Scorer(self.goal.evaluate, self.source.signature)
        if self._float_score is None:
            self._float_score = scorer.reference(self.baseline)
        if candidate.score is None:
            own = self.workshop.refined(candidate)
            if own.score is None:
                own.score = scorer.score(own.artifact)
            candidate.score = own.score
        return self._float_score - candidate.score <= self.goal.allowed + 1e-12

    def _keeps_decisions(self, candidate: Candidate) -> bool:
        """Whether its flips, counted, are as few as allowed; variants may bring that about."""
        if self.workshop.judge is None or not candidate.quantized:
            return True
        known = self.workshop.known(candidate)
        if self.workshop.judgement(known).good:
            return True
        hurried = self.interrupted or known is not candidate
        own = known if hurried else self.workshop.refined(candidate)
        return self.workshop.judgement(own).good

    @property
    def _limit(self) -> float:
        """Most loss that is allowed."""
        return DEFAULT_NSR if self.workshop.judge is None else self.workshop.judge.limit

    def _finalists(self, search: Search) -> dict[str, Candidate]:
        """The best good candidates by profile, and the rewritten float program.

        The user's score is computed for as few as it takes, the most promising first. Where the
        user's budget is spent, the most promising one alone is proved.
        """
        over = search.limits.over or self.interrupted
        within = [
            each
            for each in search.state.frontier
            if each.loss is not None and each.loss <= self._limit
        ]
        good: list[Candidate] = []
        for each in sorted((c for c in within if c.quantized), key=search.score):
            unknown = self.interrupted and self.goal.evaluate is not None and each.score is None
            if len(good) < (1 if over else _FINALISTS) and not unknown and self._accept(each):
                good.append(each)
        proved = map(self.workshop.known if over else self.workshop.refined, good)
        named = {f"candidate {i}": each for i, each in enumerate(proved)}
        rewritten = [] if self.interrupted else [each for each in within if not each.quantized]
        return named | dict(zip([REWRITTEN], rewritten, strict=False))

    def _summary(
        self,
        candidate: Candidate | None,
        latencies: Mapping[str, Latency],
        chosen: str,
        became: str,
    ) -> str:
        total = len(self.workshop.options)
        model = self.workshop.target.evidence.model
        if candidate is None:
            how = "measured" if model is None else f"that {model} knows of"
            return f"float is returned: nothing {how} was better within the loss allowed; {became}"
        source = model or ("" if latencies[chosen].rounds else "its profile")
        speed = latencies[chosen].speed + (f" by {source}" if source else "")
        quality = f"SQNR {sqnr_db(candidate.noise or 0.0):.1f} dB"
        if not candidate.quantized:
            return f"float is returned, rewritten: {speed}; no quantized form was better"
        return f"{candidate.quantized} of {total} regions quantized: {speed}, {quality}"

    def _selection(
        self,
        candidate: Candidate | None,
        chosen: str,
        summary: str,
        latencies: Mapping[str, Latency],
        frontier: tuple[Candidate, ...],
        log: tuple[str, ...],
    ) -> Selection:
        options = self.workshop.options
        plan = plan_of_source(self.workshop.target.name, options)
        unmet = unmet_overrides(options) if candidate is None else []
        if candidate is not None:
            variants = (*self.base.variants, *candidate.variants)
            texts = tuple(each.text for each in variants)
            plan = replace(candidate.plan, rewritten=True, variants=texts)
        return Selection(
            artifact=candidate.artifact if candidate else self.baseline,
            program=candidate.program if candidate else planned_source(self.source, plan),
            base=self.workshop.program,
            plan=plan,
            summary=summary,
            baseline=self.baseline,
            latencies=latencies,
            chosen=chosen if candidate else "float",
            frontier=frontier,
            loss=candidate.loss if candidate else 0.0,
            score=self._scores(candidate),
            log=log,
            options=tuple(options),
            diagnostics=(*unmet, *broken_weights(options)),
            candidate=candidate,
            tried=(*self.base.tried, *(candidate.tried if candidate else ())),
            interrupted=self.interrupted,
            tolerances=() if self.workshop.judge is None else self.workshop.judge.margins,
        )

    def _scores(self, candidate: Candidate | None) -> tuple[float, float] | None:
        """The user's score of float and of the result."""
        if self.goal.evaluate is None or (self.interrupted and self._float_score is None):
            return None
        scorer = Scorer(self.goal.evaluate, self.source.signature)
        if self._float_score is None:
            self._float_score = scorer.reference(self.baseline)
        if candidate is None:
            return self._float_score, self._float_score
        if candidate.score is None:
            candidate.score = scorer.score(candidate.artifact)
        return self._float_score, candidate.score
