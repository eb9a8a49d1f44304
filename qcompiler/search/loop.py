"""The search: measure, solve, verify on the engine, learn, solve again; always keeps the best.

1. Profile float and every form of every region: seconds per region and precision, in place.
2. Solve for the cheapest plan; build it, measure its loss and profile it.
3. Too lossy? Measure sensitivities once, then solve under a bound on predicted loss. What every
   plan really loses corrects the predictions, so a rejected plan does not come again.
4. Stop when no cheaper plan is within the bound, or the budget ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from qcompiler.choices.assignment import Assignment, Costs, assign
from qcompiler.choices.bounds import LossBound
from qcompiler.choices.cost import CostModel, fastest, uniform_trials
from qcompiler.choices.objective import ENERGY, SIZE, Footprint, Objective
from qcompiler.choices.prediction import LossModel
from qcompiler.choices.sensitivity import FLOOR, LEAST, measure_sensitivity
from qcompiler.errors import ConfigurationError, QCompilerError
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.signature import Feed
from qcompiler.measurement.candidates import Candidate, Workshop, failure
from qcompiler.measurement.gate import Gate, GateModel, passed_on
from qcompiler.measurement.loss import sqnr_db
from qcompiler.measurement.probing import Prober
from qcompiler.measurement.views import informative
from qcompiler.pipeline.contract import Progress, Silent
from qcompiler.search.cache import CostCache, signatures
from qcompiler.search.state import Limits, SearchState

Accept = Callable[[Candidate], bool]
"""Whether a candidate's quality is within what the user allows."""

_NEAR = 4.0
"""Multiple of the limit up to which losses are taken to add up."""
_WORTH = 0.01
"""Share of the cost that a further plan has to promise."""
_SURPRISE = 0.15
"""Relative gap between predicted and profiled time after which a plan is profiled again."""
_GRACE = 3
"""Rounds after measuring sensitivities that are spent past a soft deadline, until one succeeds."""
_MOST_HALVINGS = 8
"""How often plans that fail are halved, to profile the regions that do not make them fail."""
_SOLVER_SECONDS = 10.0
_AHEAD = 0.5
"""Share of the time left that workers may take for losses; they may have to start first."""
PROBE_FEEDS = 3
"""Samples of a probe; more rank regions no better."""


@dataclass
class Search:
    """One search. `run` may be interrupted; `state` always holds the best so far.

    Attributes:
        workshop: Builds and measures.
        costs: Learned costs.
        limits: When to stop.
        accept: The user's criterion on top of the limits.
        feeds: Samples for profiles.
        gates: Makes the switchable model when sensitivities are needed.
        objective: What is minimised.
        prints: Size and energy of every choice.
        cache: Times of earlier compilations.
        executor: Workers for probes.
        progress: Told of every step.
    """

    workshop: Workshop
    costs: CostModel
    limits: Limits
    accept: Accept
    feeds: Sequence[Feed]
    gates: Callable[[], GateModel]
    objective: Objective
    prints: Footprint
    cache: CostCache = field(default_factory=lambda: CostCache(None))
    executor: Executor | None = None
    progress: Progress = field(default_factory=Silent)
    state: SearchState = field(default_factory=SearchState)

    def run(self) -> SearchState:
        """Searches; a KeyboardInterrupt ends it with what is known."""
        trials = uniform_trials(self.workshop.options)
        self.progress.start("search", 1 + len(trials) + self.limits.rounds)
        try:
            self._profile(trials)
            self._refine()
        except KeyboardInterrupt:
            self.state.interrupted = True
            self._note("interrupted: keeping the best so far")
        finally:
            self.progress.finish()
        return self.state

    @property
    def best(self) -> Candidate | None:
        """The candidate with the lowest score among those that are good."""
        good = [each for each in self.state.frontier if self._good(each)]
        return min(good, key=self.score, default=None)

    def score(self, candidate: Candidate) -> float:
        """The objective relative to float, by profile and file; the lower the better."""
        base = self.state.frontier[0]
        ratios = {ENERGY: self.prints.ratio(ENERGY, candidate.plan.precisions)}
        if self.objective.weight(SIZE):
            ratios[SIZE] = candidate.artifact.nbytes / base.artifact.nbytes
        if base.seconds and candidate.seconds is not None:
            ratios["latency"] = candidate.seconds / base.seconds
        return self.objective.score(ratios)

    def _profile(self, trials: Sequence[Mapping[str, str]]) -> None:
        """Float, then every form of every region."""
        self._try({}, "float")
        known = signatures(self.workshop.options, self.costs.elements) if self.cache.path else {}
        offered = [each for trial in trials for each in trial.items()]
        recalled = self.costs.recall(self.cache, known, offered)
        if recalled:
            self._note(f"cost cache: {recalled} times known")
        self._foresee(trials)
        # Only time is known before a form was tried; size and energy may always be saved.
        other_goals = self.objective.weight(SIZE) or self.objective.weight(ENERGY)
        for number, wanted in enumerate(trials, 1):
            if self.limits.expired:
                break  # what was measured is remembered
            if number > 1 and not other_goals and not self.costs.may_pay(wanted):
                continue
            if all(choice in self.costs.regions for choice in wanted.items()):
                continue  # known from earlier compilations
            what = "every region" if number == 1 else f"form {number} of regions"
            if self._try(wanted, what, True) is None:
                self._try_halves(wanted, what)
        self.costs.remember(self.cache, known, self.state.frontier)
        self.state.log.extend(self.cache.notes)
        self.cache.notes.clear()

    def _try_halves(self, wanted: Mapping[str, str], what: str) -> None:
        """Learns what it can of a plan that fails: halves of it, down to what fails alone."""
        pending = [list(wanted.items())]
        for _ in range(_MOST_HALVINGS):
            splittable = [each for each in pending if len(each) > 1]
            if not splittable or self.limits.expired:
                return
            whole = splittable[0]
            pending.remove(whole)
            middle = len(whole) // 2
            halves = (whole[:middle], whole[middle:])
            pending += [h for h in halves if self._try(dict(h), f"part of {what}", True) is None]

    def _foresee(self, trials: Sequence[Mapping[str, str]]) -> None:
        """Losses of the trials that are not known by cost, side by side on the executor."""
        new = [w for w in trials if not all(each in self.costs.regions for each in w.items())]
        plans = [self.workshop.plan(wanted) for wanted in new]
        note = self.workshop.foresee(plans, _AHEAD * self.limits.left)
        if note is not None:
            self._note(note)

    def _refine(self) -> None:
        """Solves, measures and learns until no cheaper plan is within the bound."""
        bound = LossBound(self.limits.max_nsr)
        grace = 0 if self.limits.strict else 1  # rounds that may be spent past the deadline
        for _ in range(self.limits.rounds):
            if self.limits.expired:
                if not grace:
                    return self._note("the budget ended")
                grace -= 1
            solved = self._solved(bound.value if self.state.losses else None)
            if solved is None or self._is_settled(solved):
                return None
            seen = self._find(solved.precisions)
            if seen is not None and self.state.losses is not None:
                bound.tighten()
            candidate = seen or self._try(solved.precisions, "solved")
            if candidate is None:
                return None
            good = self._good(candidate)
            if good:
                grace = 0
            elif self.state.losses is None:
                if not self._measure_losses():
                    return None
                grace = 0 if self.limits.strict else _GRACE
            bound.record(candidate.loss or 0.0, good, candidate.predicted is not None)
            if bound.closed:
                return None
            self._learn_losses()
        return None

    def _is_settled(self, solved: Assignment) -> bool:
        """Whether the solver's plan is a good one that is known, or hardly cheaper than one."""
        seen = self._find(solved.precisions)
        if seen is not None:
            return self._good(seen)
        best = self.best
        if best is None or not best.quantized or self.state.losses is None:
            return False
        return solved.cost >= (1 - _WORTH) * self._cost(best)

    def _cost(self, candidate: Candidate) -> float:
        """What the solver's objective is for a plan that is known."""
        precisions = candidate.plan.precisions
        pinned = [
            replace(each, pinned=precisions.get(each.region.key, FLOAT))
            for each in self.workshop.options
        ]
        return assign(pinned, self._priced()).cost

    def _learn_losses(self) -> None:
        """Fits the sensitivities to what plans near the limit really lost."""
        probed = self.state.sensitivities
        if probed is None:
            return
        near = _NEAR * self.limits.max_nsr
        measured = []
        for each in self.state.frontier:
            loss = each.loss if each.loss is not None and math.isfinite(each.loss) else math.inf
            if each.quantized and min(loss, probed.of_plan(each.plan.precisions)) <= near:
                measured.append((each.plan.precisions, min(loss, _NEAR * near)))
        self.state.losses = probed.fitted(measured)

    def _priced(self) -> Costs:
        alias = passed_on(self.workshop.options)
        return self.costs.costs(self.state.losses, self.objective, self.prints, alias)

    def _solved(self, bound: float | None) -> Assignment | None:
        """The cheapest plan whose predicted loss keeps the bound."""
        seconds = min(_SOLVER_SECONDS, max(self.limits.left, 1.0))
        try:
            return assign(self.workshop.options, self._priced(), bound, seconds)
        except ConfigurationError as error:
            self._note(f"solver: {error.why}")
            return None

    def _good(self, candidate: Candidate) -> bool:
        within = candidate.loss is not None and candidate.loss <= self.limits.max_nsr
        return within and (not candidate.quantized or self.accept(candidate))

    def _measure_losses(self) -> bool:
        """Sensitivities of all gates; False when there are none to be had."""
        judge = self.workshop.judge
        if not self.limits.probes or judge is None or self.limits.over:
            return False
        try:
            model = self.gates()
        except QCompilerError as error:
            self._note(f"no sensitivities: {failure(error)}")
            return False
        end = time.monotonic() + 0.5 * self.limits.left  # the rest is for using what was found
        told = informative(judge.slices, judge.reference, PROBE_FEEDS)
        probed = [judge.feeds[each] for each in told]
        slices = [each.at(told) for each in judge.slices]
        with Prober(model, probed, self.executor, slices, judge.taken.at(told)) as prober:
            found = measure_sensitivity(
                model.gates,
                self._told(prober.losses),
                FLOOR * self.limits.max_nsr,
                self.limits.probes,
                lambda: time.monotonic() > end,
                0 if self.limits.strict else LEAST,
            )
        self.state.sensitivities = self.state.losses = LossModel(
            model.losses(found.losses), model.terms
        )
        self._note(
            f"sensitivity: {found.probes} probes for {len(model.gates)} quantizations"
            + ("" if found.complete else ", ended early")
        )
        return True

    def _told(
        self, measure: Callable[[Sequence[Sequence[Gate]]], list[float]]
    ) -> Callable[[Sequence[Sequence[Gate]]], list[float]]:
        def told(groups: Sequence[Sequence[Gate]]) -> list[float]:
            self.progress.advance(0, f"sensitivity of {len(groups)} sets{self._best_note()}")
            return measure(groups)

        return told

    def _try(
        self, precisions: Mapping[str, str], what: str, uniform: bool = False
    ) -> Candidate | None:
        """Builds, measures and learns one plan; None if the engine refuses it."""
        plan = self.workshop.plan(precisions, what)
        expected = self.costs.expected(plan.precisions)
        candidate = self.workshop.measured(plan, self.feeds)
        if candidate is None:
            self._note(f"{what}: refused, {self.workshop.refusal(plan)}")
            return None
        if candidate.predicted is None and self.state.losses is not None:
            candidate.predicted = self.state.losses.of_plan(plan.precisions)
        if not uniform and expected is not None:
            self._recheck(candidate, expected)
        self.costs.learn(candidate, only_new=uniform)
        candidate = self._refined(candidate, uniform)
        if candidate not in self.state.frontier:
            self.state.frontier.append(candidate)
        loss = math.inf if candidate.loss is None else candidate.loss
        self._note(
            f"{what}: {candidate.quantized} regions quantized, "
            f"{1e3 * (candidate.seconds or 0):.3f} ms{self._kind}, {sqnr_db(loss):.1f} dB"
            + self._predicted_note(candidate)
        )
        self.progress.advance(1, self.state.log[-1] + self._best_note())
        return candidate

    def _refined(self, candidate: Candidate, uniform: bool) -> Candidate:
        """With variants, where they may decide whether a plan is good (6 dB from the bound)."""
        loss = candidate.loss or 0.0
        if uniform or self.limits.over:
            return self.workshop.known(candidate)
        if self.limits.refine_above < loss <= 4 * self.limits.max_nsr:
            return self.workshop.refined(candidate)
        return self.workshop.known(candidate)

    def _recheck(self, candidate: Candidate, expected: float) -> None:
        """Profiles again when a profile contradicts what its regions cost so far."""
        sample = candidate.sample
        if sample is None or self.limits.expired:
            return
        measured = sum(sample.regions.values())
        if abs(measured - expected) <= _SURPRISE * max(expected, 1e-9):
            return
        again = self.workshop.profiled(candidate.artifact, self.feeds)
        if again is not None:
            candidate.sample = fastest(sample, again)
            candidate.seconds = candidate.sample.total

    def _find(self, precisions: Mapping[str, str]) -> Candidate | None:
        found = (each for each in self.state.frontier if each.plan.precisions == precisions)
        return next(found, None)

    def _predicted_note(self, candidate: Candidate) -> str:
        predicted = candidate.predicted
        return "" if predicted is None else f" ({sqnr_db(predicted):.1f} dB predicted)"

    def _best_note(self) -> str:
        if len(self.state.frontier) < 2:
            return ""
        within = [
            each
            for each in self.state.frontier
            if each.loss is not None and each.loss <= self.limits.max_nsr
        ]
        best = min(map(self.score, within), default=1.0)
        return f"; best so far {1 / max(best, 1e-9):.2f}x"

    @property
    def _kind(self) -> str:
        """Said of times that are not measured."""
        return "" if self.workshop.target.evidence.timed else " modelled"

    def _note(self, line: str) -> None:
        self.state.log.append(line)
