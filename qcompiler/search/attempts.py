"""Plans tried one after the other: built, measured, learned from, and told of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qcompiler.choices.cost import CostModel, fastest
from qcompiler.choices.objective import ENERGY, SIZE, Footprint, Objective
from qcompiler.ir.signature import Feed
from qcompiler.measurement.candidates import Candidate, Workshop
from qcompiler.measurement.loss import sqnr_db
from qcompiler.pipeline.contract import Progress, Silent
from qcompiler.search.state import Limits, SearchState

_SURPRISE = 0.15
"""Relative gap between predicted and profiled time after which a plan is profiled again."""


@dataclass(eq=False)
class Attempts:
    """Tries plans; `state` holds what came of them.

    Attributes:
        workshop: Builds and measures.
        costs: Learned costs.
        limits: When to stop.
        feeds: Samples for profiles.
        objective: What is minimised.
        prints: Size and energy of every choice.
        progress: Told of every attempt.
    """

    workshop: Workshop
    costs: CostModel
    limits: Limits
    feeds: Sequence[Feed]
    objective: Objective
    prints: Footprint
    progress: Progress = field(default_factory=Silent)
    state: SearchState = field(default_factory=SearchState)

    def attempt(
        self, precisions: Mapping[str, str], what: str, uniform: bool = False
    ) -> Candidate | None:
        """Builds, measures and learns one plan; None if the engine refuses it."""
        plan = self.workshop.plan(precisions, what)
        expected = self.costs.expected(plan.precisions)
        candidate = self.workshop.measured(plan, self.feeds)
        if candidate is None:
            self.note(f"{what}: refused, {self.workshop.refusal(plan)}")
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
        self.note(
            f"{what}: {candidate.quantized} regions quantized, "
            f"{1e3 * (candidate.seconds or 0):.3f} ms{self._kind}, {sqnr_db(loss):.1f} dB"
            + self._predicted_note(candidate)
        )
        self.progress.advance(1, self.state.log[-1] + self.best_note())
        return candidate

    @property
    def is_hopeless(self) -> bool:
        """Whether the type of the target's float values alone loses more than is allowed."""
        plain = self.state.frontier[0] if self.state.frontier else None
        if plain is None or not plain.coarse or plain.loss is None:
            return False
        return plain.loss > self.limits.max_nsr

    def score(self, candidate: Candidate) -> float:
        """The objective relative to float, by profile and file; the lower the better."""
        base = self.state.frontier[0]
        ratios = {ENERGY: self.prints.ratio(ENERGY, candidate.plan.precisions)}
        if self.objective.weight(SIZE):
            ratios[SIZE] = candidate.artifact.nbytes / base.artifact.nbytes
        if base.seconds and candidate.seconds is not None:
            ratios["latency"] = candidate.seconds / base.seconds
        return self.objective.score(ratios)

    def find(self, precisions: Mapping[str, str]) -> Candidate | None:
        """The candidate with these precisions, if it was tried."""
        found = (each for each in self.state.frontier if each.plan.precisions == precisions)
        return next(found, None)

    def note(self, line: str) -> None:
        """A line for the report."""
        self.state.log.append(line)

    def best_note(self) -> str:
        """How fast the best so far is, behind a line of progress."""
        if len(self.state.frontier) < 2:
            return ""
        within = [
            each
            for each in self.state.frontier
            if each.loss is not None and each.loss <= self.limits.max_nsr
        ]
        best = min(map(self.score, within), default=1.0)
        return f"; best so far {1 / max(best, 1e-9):.2f}x"

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

    def _predicted_note(self, candidate: Candidate) -> str:
        predicted = candidate.predicted
        return "" if predicted is None else f" ({sqnr_db(predicted):.1f} dB predicted)"

    @property
    def _kind(self) -> str:
        """Said of times that are not measured."""
        return "" if self.workshop.target.evidence.timed else " modelled"
