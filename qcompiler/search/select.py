"""From a calibrated program to the configuration that is returned: search, then proof by timing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

from qcompiler.config import Recipe
from qcompiler.errors import LegalityError, LoweringError
from qcompiler.execution.timing import Latency, compare_latency
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.signature import Feed
from qcompiler.pipeline.contract import PassContext, Progress
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.quantization.qspace import QParams
from qcompiler.search.cache import CostCache
from qcompiler.search.candidates import Candidate, Workshop
from qcompiler.search.cost import CostModel, elements_per_run, uniform_trials
from qcompiler.search.explain import explained
from qcompiler.search.gates import GateModel, gate_model
from qcompiler.search.goal import (
    DEFAULT_NSR,
    DEFAULT_SCORE_LOSS,
    LOOSE_NSR,
    Goal,
    Samples,
    Selection,
)
from qcompiler.search.loop import Limits, Search
from qcompiler.search.loss import Judge, sqnr_db
from qcompiler.search.objective import ENERGY, LATENCY, SIZE, Footprint, Objective, footprint
from qcompiler.search.options import Options, denials, region_options
from qcompiler.search.pace import Pace
from qcompiler.search.parts import output_slices
from qcompiler.search.ranges import with_best_ranges
from qcompiler.search.scoring import Scorer
from qcompiler.target.contract import Artifact, Target

__all__ = [
    "DEFAULT_NSR",
    "DEFAULT_SCORE_LOSS",
    "LOOSE_NSR",
    "Goal",
    "Samples",
    "Selection",
    "select",
]

_FINALISTS = 3
_REWRITTEN = "rewritten float"
_PROFILE_FEEDS = 4
_LEAST_ROUNDS = 7
_NOISE = 0.03
"""How much slower than float a result may look where speed is not the objective."""


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
) -> Selection:
    """Builds what the goal asks for; with the scheme `auto`, searches and proves it by timing."""
    options = region_options(program, target, target.regions(program), goal.overrides)
    baseline = baseline or target.lower(source)
    judge = None
    if (target.measurable or target.judged_elsewhere) and samples.feeds:
        judge = Judge(samples.feeds, baseline.run, partial(output_slices, source))
    if judge is not None and effort.choose_ranges and goal.scheme.observer is None:
        program = _best_ranges(program, target, options, judge)
    workshop = Workshop(
        program,
        target,
        options,
        judge,
        correct_bias=effort.correct_bias,
        fitting=samples.fitting,
        executor=executor,
        pace=_pace(source, target, samples) if target.measurable else None,
    )
    chooser = _Chooser(source, baseline, workshop, samples, goal, effort, progress, executor)
    priced = target.measurable or target.time_model is not None
    searching = goal.plan is None and goal.scheme.is_auto and priced
    if searching and judge is not None:
        return chooser.search()
    return chooser.fixed()


def _pace(source: Program, target: Target, samples: Samples) -> Pace:
    one = target.single_threaded()
    return Pace(lambda: one.lower(source), samples.feeds)


def _best_ranges(
    program: Program, target: Target, options: Sequence[Options], judge: Judge
) -> Program:
    """The program under the calibration method that suits the plan of all regions best."""
    trials = uniform_trials(options)
    if not trials or not program.observations:
        return program
    plan = Workshop(program, target, options).plan(trials[0])
    try:
        return with_best_ranges(program, target, plan, judge)[0]
    except LoweringError:
        return program  # the search tries other plans


@dataclass(eq=False)
class _Chooser:
    source: Program
    baseline: Artifact
    workshop: Workshop
    samples: Samples
    goal: Goal
    effort: Recipe
    progress: Progress
    executor: Executor | None
    _float_score: float | None = None

    def fixed(self) -> Selection:
        """One plan, as asked: a given one, or one precision wherever it is legal."""
        plan = self.goal.plan or self._uniform()
        self._require_quantized(plan)
        candidate = self.workshop.build(plan)
        if self.workshop.judge is not None:
            candidate.loss = self.workshop.judge.loss(candidate.artifact.run)
            self.workshop.refine(candidate)
        latencies = self._timed({"compiled": candidate.artifact})
        summary = f"{candidate.quantized} of {len(self.workshop.options)} regions as asked"
        return self._selection(candidate, "compiled", summary, latencies, (candidate,), ())

    def _require_quantized(self, plan: Plan) -> None:
        """A fixed scheme that nothing in the model can take is a mistake, not a wish for float."""
        wanted = self.goal.scheme
        if self.goal.plan is not None or wanted.is_auto or wanted.precision == FLOAT:
            return
        if any(choice.precision != FLOAT for choice in plan.choices.values()):
            return
        target, options = self.workshop.target, self.workshop.options
        raise LegalityError(
            f"no region of this model can run as {wanted.precision!r} on {target.name}",
            denials(target, options, wanted.precision),
            why=None if options else "it has no op that the target quantizes",
            fix="choose another scheme, or scheme='auto', which returns float and says why",
        )

    def search(self) -> Selection:
        """Searches under the goal, then times the best few against float."""
        budget = self.effort.seconds if self.goal.budget is None else self.goal.budget
        options = self.workshop.options
        elements = elements_per_run(self.workshop.program, options, self.samples.seen)
        costs = CostModel(elements, self.workshop.target.conversion_cost())
        limits = Limits(
            self.goal.max_nsr,
            time.monotonic() + budget,
            self.effort.rounds,
            self.effort.probes,
            refine_above=0.0 if self.goal.evaluate else self.goal.max_nsr,
            strict=self.goal.budget is not None,
        )
        search = Search(
            self.workshop,
            costs,
            limits,
            self._accept,
            self.samples.feeds[:_PROFILE_FEEDS],
            self._gates,
            Objective.of(self.goal.objective),
            footprint(options, elements),
            self._cache(),
            self.executor,
            self.progress,
        )
        state = search.run()
        finalists = self._finalists(search)
        latencies = self._timed({name: each.artifact for name, each in finalists.items()})
        chosen = self._best(finalists, latencies, search.prints)
        candidate = finalists.get(chosen)
        while candidate is not None and not self._accept(candidate):
            del finalists[chosen]  # float rewritten, whose rounding the user's score minds
            chosen = self._best(finalists, latencies, search.prints)
            candidate = finalists.get(chosen)
        summary = self._summary(candidate, latencies, chosen)
        selection = self._selection(
            candidate, chosen, summary, latencies, tuple(state.frontier), tuple(state.log)
        )
        model = self.workshop.target.time_model
        plan = explained(selection.plan, options, costs, state.losses, model)
        predicted = candidate.predicted if candidate else None
        if predicted is None and state.sensitivities is not None:
            predicted = state.sensitivities.of_plan(plan.precisions)
        return replace(selection, plan=plan, predicted=predicted)

    def _cache(self) -> CostCache:
        """Where measured times are kept; what a model says is computed anew."""
        target = self.workshop.target
        return CostCache.open(repr(target)) if target.measurable else CostCache(None)

    def _gates(self) -> GateModel:
        """The switchable model, with the scales of the plan that quantizes every region."""
        workshop = self.workshop
        scales: Mapping[str, QParams] = {}
        trials = uniform_trials(workshop.options)
        if trials and "align-scales" in workshop.target.placement:
            program = workshop.program.clone()
            program.plan = workshop.plan(trials[0])
            program.properties |= {Property.PRECISION_ASSIGNED}
            Pipeline.parse("align-scales").run(program, PassContext(target=workshop.target))
            scales = program.scales
        return gate_model(workshop.program, workshop.options, scales)

    def _uniform(self) -> Plan:
        asked = self.goal.scheme
        name = self.workshop.target.preferred if asked.is_auto else asked.precision
        program = self.workshop.program.clone()
        context = PassContext(
            self.workshop.target, options={"overrides": dict(self.goal.overrides)}
        )
        Pipeline.parse(f"assign-precision{{scheme={name}}}").run(program, context)
        assert program.plan is not None
        return program.plan

    def _accept(self, candidate: Candidate) -> bool:
        """Whether the user's score allows the candidate, computed once on what is returned."""
        if self.goal.evaluate is None:
            return True
        scorer = Scorer(self.goal.evaluate, self.source.signature)
        if self._float_score is None:
            self._float_score = scorer.reference(self.baseline)
        if candidate.score is None:
            self.workshop.refine(candidate)
            candidate.score = scorer.score(candidate.artifact)
        return self._float_score - candidate.score <= self.goal.allowed + 1e-12

    def _finalists(self, search: Search) -> dict[str, Candidate]:
        """The best good candidates by profile, and the rewritten float program.

        The user's score is computed for as few as it takes, the most promising first. Where the
        user's budget is spent, the most promising one alone is proved.
        """
        over = search.limits.over
        within = [
            each
            for each in search.state.frontier
            if each.loss is not None and each.loss <= self.goal.max_nsr
        ]
        good: list[Candidate] = []
        for each in sorted((c for c in within if c.quantized), key=search.score):
            if len(good) < (1 if over else _FINALISTS) and self._accept(each):
                good.append(each)
        for each in () if over else good:
            self.workshop.refine(each)
        named = {f"candidate {i}": each for i, each in enumerate(good)}
        rewritten = [each for each in within if not each.quantized]
        return named | dict(zip([_REWRITTEN], rewritten, strict=False))

    def _timed(self, contenders: Mapping[str, Artifact]) -> dict[str, Latency]:
        if not self.samples.feeds:
            return {}
        feeds = list(self.samples.feeds[:_PROFILE_FEEDS])
        if not self.workshop.target.measurable:
            return self._modelled(contenders, feeds)
        artifacts = {"float": self.baseline, **contenders}
        feeds = feeds[: self._affordable(feeds[0], len(artifacts))]
        runs = {name: _runner(each, feeds) for name, each in artifacts.items()}
        timed = compare_latency(runs, self.effort.timing, _LEAST_ROUNDS)
        return {
            name: replace(each, median=each.median / len(feeds)) for name, each in timed.items()
        }

    def _affordable(self, feed: Feed, contenders: int) -> int:
        """Feeds of a round, so that the least number of rounds takes about the time allowed."""
        self.baseline.run(feed)
        started = time.perf_counter()
        self.baseline.run(feed)
        round_trip = 2 * contenders * (time.perf_counter() - started)  # every other run is untimed
        return max(1, int(self.effort.timing / (_LEAST_ROUNDS * round_trip)))

    def _modelled(
        self, contenders: Mapping[str, Artifact], feeds: Sequence[Feed]
    ) -> dict[str, Latency]:
        """Times by the target's model, relative to float as it is rewritten; none without one."""
        if self.workshop.target.time_model is None:
            return {}
        plain = self.workshop.build(self.workshop.plan({})).artifact
        samples = {
            name: each.profile(feeds) for name, each in {"float": plain, **contenders}.items()
        }
        seconds = {name: sample.total for name, sample in samples.items() if sample is not None}
        if "float" not in seconds:
            return {}
        ratios = {name: each / seconds["float"] for name, each in seconds.items()}
        return {
            name: Latency(seconds[name], ratio, ratio, ratio, 0) for name, ratio in ratios.items()
        }

    def _best(
        self,
        finalists: Mapping[str, Candidate],
        latencies: Mapping[str, Latency],
        prints: Footprint,
    ) -> str:
        """The contender with the lowest score that is not slower than float; float if none is."""
        objective = Objective.of(self.goal.objective)
        slack = 0.0 if objective.weight(LATENCY) else _NOISE
        scores = {"float": 1.0}
        for name, each in finalists.items():
            if latencies[name].ratio >= 1.0 + slack:
                continue
            precisions = each.plan.precisions
            ratios = {part: prints.ratio(part, precisions) for part in (SIZE, ENERGY)}
            ratios[LATENCY] = _merit(name, finalists, latencies)
            scores[name] = objective.score(ratios)
        return min(scores, key=lambda name: scores[name])

    def _summary(
        self, candidate: Candidate | None, latencies: Mapping[str, Latency], chosen: str
    ) -> str:
        total = len(self.workshop.options)
        model = self.workshop.target.time_model
        if candidate is None:
            how = "measured" if model is None else f"that {model} knows of"
            return f"float is returned: nothing {how} was better within the loss allowed"
        speed = f"{1 / latencies[chosen].ratio:.2f}x" + (f" by {model}" if model else "")
        quality = f"SQNR {sqnr_db(candidate.loss or 0.0):.1f} dB"
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
        plan = candidate.plan if candidate else self.workshop.plan({}, "float is faster")
        return Selection(
            artifact=candidate.artifact if candidate else self.baseline,
            program=candidate.program if candidate else self.source,
            plan=plan,
            summary=summary,
            baseline=self.baseline,
            latencies=latencies,
            chosen=chosen if candidate else "float",
            frontier=frontier,
            loss=candidate.loss if candidate else 0.0,
            score=self._scores(candidate),
            log=log,
            options=tuple(self.workshop.options),
            candidate=candidate,
        )

    def _scores(self, candidate: Candidate | None) -> tuple[float, float] | None:
        """The user's score of float and of the result."""
        if self.goal.evaluate is None:
            return None
        scorer = Scorer(self.goal.evaluate, self.source.signature)
        if self._float_score is None:
            self._float_score = scorer.reference(self.baseline)
        if candidate is None:
            return self._float_score, self._float_score
        if candidate.score is None:
            candidate.score = scorer.score(candidate.artifact)
        return self._float_score, candidate.score


def _merit(
    name: str, finalists: Mapping[str, Candidate], latencies: Mapping[str, Latency]
) -> float:
    """Time relative to float: geometric mean of the timing as deployed and of the profile.

    The profile is of one thread, which tells what a plan saves when the other cores are busy, or
    are the second thread of the same one; then the timing alone would prefer what scales.
    """
    own, plain, ratio = finalists[name], finalists.get(_REWRITTEN), latencies[name].ratio
    if plain is None or not own.seconds or not plain.seconds:
        return ratio
    return math.sqrt(ratio * latencies[_REWRITTEN].ratio * own.seconds / plain.seconds)


def _runner(artifact: Artifact, feeds: Sequence[Feed]) -> Callable[[], object]:
    """Runs the feeds in turn, one round over all of them per call."""

    def run() -> None:
        for feed in feeds:
            artifact.run(feed)

    return run
