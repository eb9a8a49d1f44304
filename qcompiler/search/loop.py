"""The search: measure, solve, verify on the engine, learn, solve again; always keeps the best.

1. Profile float and every form of every region: seconds per region and precision, in place.
2. Solve for the cheapest plan; build it, measure its loss and profile it.
3. Too lossy? Measure sensitivities once, then solve under a bound on predicted loss. What every
   plan really loses corrects the predictions, so a rejected plan does not come again.
4. Stop when no cheaper plan is within the bound, or the budget ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from qcompiler.choices.assignment import Assignment, Costs, assign
from qcompiler.choices.bounds import LossBound
from qcompiler.choices.cost import uniform_trials
from qcompiler.errors import ConfigurationError
from qcompiler.ir.plan import FLOAT
from qcompiler.measurement.candidates import Candidate, Workshop
from qcompiler.measurement.gate import GateModel, passed_on
from qcompiler.search.attempts import Attempts
from qcompiler.search.cache import CostCache
from qcompiler.search.losses import measured_losses
from qcompiler.search.profiling import profile
from qcompiler.search.state import Limits, SearchState

Accept = Callable[[Candidate], bool]
"""Whether a candidate's quality is within what the user allows."""

_NEAR = 4.0
"""Multiple of the limit up to which losses are taken to add up."""
_WORTH = 0.01
"""Share of the cost that a further plan has to promise."""
_GRACE = 3
"""Rounds after measuring sensitivities that are spent past a soft deadline, until one succeeds."""
_SOLVER_SECONDS = 10.0


@dataclass(eq=False)
class Search:
    """One search. `run` may be interrupted; `state` always holds the best so far.

    Attributes:
        attempts: Tries plans.
        accept: The user's criterion on top of the limits.
        gates: Makes the switchable model when sensitivities are needed.
        cache: Times of earlier compilations.
        executor: Workers for probes.
    """

    attempts: Attempts
    accept: Accept
    gates: Callable[[], GateModel]
    cache: CostCache = field(default_factory=lambda: CostCache(None))
    executor: Executor | None = None

    @property
    def state(self) -> SearchState:
        """What is known."""
        return self.attempts.state

    @property
    def limits(self) -> Limits:
        """When it stops."""
        return self.attempts.limits

    @property
    def workshop(self) -> Workshop:
        """Builds and measures."""
        return self.attempts.workshop

    def run(self) -> SearchState:
        """Searches; a KeyboardInterrupt ends it with what is known."""
        trials = uniform_trials(self.workshop.options)
        self.attempts.progress.start("search", 1 + len(trials) + self.limits.rounds)
        try:
            profile(self.attempts, trials, self.cache)
            if not self.attempts.is_hopeless:
                self._refine()
        except KeyboardInterrupt:
            self.state.interrupted = True
            self.attempts.note("interrupted: keeping the best so far")
        finally:
            self.attempts.progress.finish()
        return self.state

    @property
    def best(self) -> Candidate | None:
        """The candidate with the lowest score among those that are good."""
        good = [each for each in self.state.frontier if self._good(each)]
        return min(good, key=self.attempts.score, default=None)

    def _refine(self) -> None:
        """Solves, measures and learns until no cheaper plan is within the bound."""
        bound = LossBound(self.limits.max_nsr)
        grace = 0 if self.limits.strict else 1  # rounds that may be spent past the deadline
        for _ in range(self.limits.rounds):
            if self.limits.expired:
                if not grace:
                    return self.attempts.note("the budget ended")
                grace -= 1
            solved = self._solved(bound.value if self.state.losses else None)
            if solved is None or self._is_settled(solved):
                return None
            seen = self.attempts.find(solved.precisions)
            if seen is not None and self.state.losses is not None:
                bound.tighten()
            candidate = seen or self.attempts.attempt(solved.precisions, "solved")
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
        seen = self.attempts.find(solved.precisions)
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
        return self.attempts.costs.costs(
            self.state.losses, self.attempts.objective, self.attempts.prints, alias
        )

    def _solved(self, bound: float | None) -> Assignment | None:
        """The cheapest plan whose predicted loss keeps the bound."""
        seconds = min(_SOLVER_SECONDS, max(self.limits.left, 1.0))
        try:
            return assign(self.workshop.options, self._priced(), bound, seconds)
        except ConfigurationError as error:
            self.attempts.note(f"solver: {error.why}")
            return None

    def _good(self, candidate: Candidate) -> bool:
        within = candidate.loss is not None and candidate.loss <= self.limits.max_nsr
        return within and (candidate.is_exact or self.accept(candidate))

    def _measure_losses(self) -> bool:
        """Sensitivities of all gates; False when there are none to be had."""
        found = measured_losses(self.attempts, self.gates, self.executor)
        self.state.sensitivities = self.state.losses = found
        return found is not None
