"""From a calibrated program to the configuration that is returned: search, then proof by timing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from qcompiler.config import Recipe, Scheme
from qcompiler.errors import ConfigurationError, LegalityError
from qcompiler.execution.timing import Latency, compare_latency
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.pipeline.contract import PassContext, Progress
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.search.candidates import Candidate, Workshop
from qcompiler.search.cost import CostModel, elements_per_run
from qcompiler.search.loop import Search, explained
from qcompiler.search.loss import Judge, sqnr_db
from qcompiler.search.options import Options, region_options
from qcompiler.target.contract import Artifact, Target, all_objections

DEFAULT_NSR = 0.01
"""Noise-to-signal ratio allowed without `evaluate`: 20 dB."""
DEFAULT_SCORE_LOSS = 0.01
LOOSE_NSR = 0.25
"""With `evaluate`, its score decides; beyond this ratio no score is worth computing."""
_FINALISTS = 3
_TIMING_SECONDS = 1.5


@dataclass(frozen=True)
class Samples:
    """Feeds kept from calibration, and how many there were."""

    feeds: tuple[Feed, ...]
    seen: int


@dataclass(frozen=True)
class Goal:
    """What the user wants of the result; see `qcompiler.compile`."""

    scheme: Scheme
    evaluate: Callable[[Callable[[Feed], Sequence[Any]]], float] | None = None
    max_loss: float | None = None
    objective: str = "latency"
    budget: float | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    plan: Plan | None = None

    def __post_init__(self) -> None:
        if self.objective not in ("latency", "size"):
            raise ConfigurationError(
                f"there is no objective {self.objective!r}", fix="choose latency or size"
            )
        if self.max_loss is not None and not self.max_loss >= 0:
            raise ConfigurationError(f"max_loss must not be negative, it is {self.max_loss}")

    @property
    def max_nsr(self) -> float:
        """Bound on the noise-to-signal ratio that the search works with."""
        if self.evaluate is not None:
            return LOOSE_NSR
        return DEFAULT_NSR if self.max_loss is None else self.max_loss


@dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen, and what it was compared with.

    Attributes:
        artifact: The result.
        program: Its program.
        plan: Its plan, with measured alternatives.
        summary: Why it was chosen, in a sentence.
        baseline: The source model in float on the same engine.
        latencies: Interleaved timing by contender, `float` is the baseline.
        chosen: The chosen contender's name in `latencies`.
        frontier: Every measured candidate.
        loss: NSR of the result, if measured.
        score: `evaluate` of (float, result), if it was given.
        log: What the search tried.
        options: Legal forms by region.
        candidate: The chosen candidate; None when the source itself is returned.
    """

    artifact: Artifact
    program: Program
    plan: Plan
    summary: str
    baseline: Artifact
    latencies: Mapping[str, Latency]
    chosen: str
    frontier: tuple[Candidate, ...]
    loss: float | None
    score: tuple[float, float] | None
    log: tuple[str, ...]
    options: tuple[Options, ...]
    candidate: Candidate | None


def select(
    source: Program,
    program: Program,
    target: Target,
    samples: Samples,
    goal: Goal,
    effort: Recipe,
    progress: Progress,
) -> Selection:
    """Builds what the goal asks for; with the scheme `auto`, searches and proves it by timing."""
    options = region_options(program, target, target.regions(program), goal.overrides)
    baseline = target.lower(source)
    judge = None
    if target.measurable and samples.feeds:
        judge = Judge(samples.feeds, baseline.run)
    workshop = Workshop(program, target, options, judge)
    chooser = _Chooser(source, baseline, workshop, samples, goal, effort, progress)
    if goal.plan is None and goal.scheme.is_auto and judge is not None:
        return chooser.search()
    return chooser.fixed()


@dataclass(eq=False)
class _Chooser:
    source: Program
    baseline: Artifact
    workshop: Workshop
    samples: Samples
    goal: Goal
    effort: Recipe
    progress: Progress
    _float_score: float | None = None

    def fixed(self) -> Selection:
        """One plan, as asked: a given one, or one precision wherever it is legal."""
        plan = self.goal.plan or self._uniform()
        self._require_quantized(plan)
        candidate = self.workshop.build(plan)
        if self.workshop.judge is not None:
            candidate.loss = self.workshop.judge.loss(candidate.artifact.run)
        latencies = self._timed({"compiled": candidate.artifact})
        summary = f"{candidate.quantized} of {len(self.workshop.options)} regions as asked"
        return self._selection(candidate, "compiled", summary, latencies, (candidate,), ())

    def search(self) -> Selection:
        """Searches under the goal, then times the best few against float."""
        budget = self.effort.seconds if self.goal.budget is None else self.goal.budget
        elements = elements_per_run(self.workshop.program, self.workshop.options, self.samples.seen)
        costs = CostModel(elements, self.workshop.target.conversion_cost())
        search = Search(
            self.workshop,
            costs,
            self.goal.max_nsr,
            self._accept,
            self.samples.feeds[:4],
            time.monotonic() + budget,
            self.effort.sensitivity,
            self.progress,
            self.effort.rounds,
        )
        state = search.run()
        finalists = self._finalists(state.frontier)
        latencies = self._timed({name: each.artifact for name, each in finalists.items()})
        chosen = self._fastest(latencies)
        candidate = finalists.get(chosen)
        summary = self._summary(candidate, latencies, chosen)
        selection = self._selection(
            candidate, chosen, summary, latencies, tuple(state.frontier), tuple(state.log)
        )
        return replace(selection, plan=explained(selection.plan, costs, state.losses))

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
            all_objections(target, [each.region for each in options]),
            why=None if options else "it has no op that the target quantizes",
            fix="choose another scheme, or scheme='auto', which returns float and says why",
        )

    def _accept(self, candidate: Candidate) -> bool:
        """Whether the user's score allows the candidate; scores are computed once."""
        if self.goal.evaluate is None:
            return True
        allowed = DEFAULT_SCORE_LOSS if self.goal.max_loss is None else self.goal.max_loss
        if self._float_score is None:
            self._float_score = float(self.goal.evaluate(self.baseline.run))
        if candidate.score is None:
            candidate.score = float(self.goal.evaluate(candidate.artifact.run))
        return self._float_score - candidate.score <= allowed + 1e-12

    def _finalists(self, frontier: Sequence[Candidate]) -> dict[str, Candidate]:
        """The fastest good candidates by profile, and the rewritten float program."""
        good = [
            each
            for each in frontier
            if each.loss is not None and each.loss <= self.goal.max_nsr and self._accept(each)
        ]
        good.sort(key=lambda each: each.seconds if each.seconds is not None else math.inf)
        quantized = [each for each in good if each.quantized][:_FINALISTS]
        rewritten = [each for each in good if not each.quantized][:1]
        named = {f"candidate {i}": each for i, each in enumerate(quantized)}
        return named | {"rewritten float": each for each in rewritten}

    def _timed(self, contenders: Mapping[str, Artifact]) -> dict[str, Latency]:
        if not self.workshop.target.measurable or not self.samples.feeds:
            return {}
        feeds = list(self.samples.feeds[:4])
        runs = {"float": _runner(self.baseline, feeds)}
        runs.update({name: _runner(each, feeds) for name, each in contenders.items()})
        return compare_latency(runs, budget_seconds=_TIMING_SECONDS, min_rounds=7)

    def _fastest(self, latencies: Mapping[str, Latency]) -> str:
        """The contender with the lowest median ratio; float unless one is clearly not slower."""
        best = min(latencies, key=lambda name: latencies[name].ratio, default="float")
        return best if best == "float" or latencies[best].ratio < 1.0 else "float"

    def _summary(
        self, candidate: Candidate | None, latencies: Mapping[str, Latency], chosen: str
    ) -> str:
        total = len(self.workshop.options)
        if not total:
            return "float is returned: the model has no op that the target quantizes"
        if candidate is None:
            return "float is returned: nothing measured was faster within the loss allowed"
        speed = 1 / latencies[chosen].ratio
        quality = f"SQNR {sqnr_db(candidate.loss or 0.0):.1f} dB"
        if not candidate.quantized:
            return f"float is returned, rewritten: {speed:.2f}x; no quantized form was better"
        return f"{candidate.quantized} of {total} regions quantized: {speed:.2f}x, {quality}"

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
        score = None
        if self.goal.evaluate is not None:
            if candidate is not None:
                self._accept(candidate)
            reached = candidate.score if candidate else self._float_score
            if self._float_score is not None and reached is not None:
                score = (self._float_score, reached)
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
            score=score,
            log=log,
            options=tuple(self.workshop.options),
            candidate=candidate,
        )


def _runner(artifact: Artifact, feeds: Sequence[Feed]) -> Callable[[], object]:
    """Runs the feeds in turn, one round over all of them per call."""

    def run() -> None:
        for feed in feeds:
            artifact.run(feed)

    return run
