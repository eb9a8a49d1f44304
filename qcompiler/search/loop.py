"""The search: measure, solve, verify on the engine, learn, solve again; always keeps the best.

1. Profile float and every uniform precision: seconds per region and precision, in place.
2. Solve for the fastest plan; build it, measure its loss and profile it.
3. Too lossy? Measure sensitivities once, then solve under a loss bound; the bound is corrected by
   the ratio of measured to predicted loss. Within bounds? Learn its times and solve again.
4. Stop when a plan comes back, the budget ends, or nothing improves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.signature import Feed
from qcompiler.pipeline.contract import Progress, Silent
from qcompiler.search.assignment import Assignment, assign
from qcompiler.search.candidates import Candidate, Workshop
from qcompiler.search.cost import CostModel, precisions_to_try
from qcompiler.search.sensitivity import measure_sensitivity

Accept = Callable[[Candidate], bool]
"""Whether a candidate's quality is within what the user allows."""


@dataclass
class SearchState:
    """What the search knows; `frontier` holds every measured candidate.

    Attributes:
        frontier: All candidates measured, float first.
        losses: Sensitivity by (region key, precision), once measured.
        log: One line per step, for the report.
    """

    frontier: list[Candidate] = field(default_factory=list)
    losses: dict[tuple[str, str], float] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)


@dataclass
class Search:
    """One search. `run` may be interrupted; `state` always holds the best so far.

    Attributes:
        workshop: Builds and measures.
        costs: Learned costs.
        max_nsr: Bound on the noise-to-signal ratio.
        accept: The user's criterion on top of it.
        feeds: Samples for profiles.
        deadline: `time.monotonic()` value to stop at.
        sensitivity: Whether to measure sensitivities when the fastest plan loses too much.
    """

    workshop: Workshop
    costs: CostModel
    max_nsr: float
    accept: Accept
    feeds: Sequence[Feed]
    deadline: float = math.inf
    sensitivity: bool = True
    progress: Progress = field(default_factory=Silent)
    rounds: int = 8
    state: SearchState = field(default_factory=SearchState)

    def run(self) -> SearchState:
        """Searches; a KeyboardInterrupt ends it with what is known."""
        self.progress.start("search", None)
        try:
            self._profile_uniform()
            self._refine()
        except KeyboardInterrupt:
            self._note("interrupted: keeping the best so far")
        finally:
            self.progress.finish()
        return self.state

    @property
    def expired(self) -> bool:
        return time.monotonic() > self.deadline

    def _profile_uniform(self) -> None:
        """Float, then each precision wherever it is legal."""
        options = self.workshop.options
        self._try({}, "float")
        for precision in precisions_to_try(options):
            wanted = {
                each.region.key: precision for each in options if each.named(precision) is not None
            }
            if self.expired:
                return
            self._try(wanted, f"{precision} everywhere")

    def _refine(self) -> None:
        bound: float | None = None
        for _ in range(self.rounds):
            if self.expired:
                return
            solution = assign(self.workshop.options, self.costs.costs(self.state.losses), bound)
            seen = self._find(solution)
            candidate = seen or self._try(solution.precisions, "solved")
            if candidate is None:
                return
            if self._good(candidate):
                if seen is not None:
                    return
                continue
            if not self.sensitivity or candidate.loss is None:
                return
            if not self.state.losses:
                self._measure_losses(candidate)
            bound = self._tightened(bound, candidate)
            if bound <= 0:
                return

    def _good(self, candidate: Candidate) -> bool:
        assert candidate.loss is not None
        return candidate.loss <= self.max_nsr and self.accept(candidate)

    def _tightened(self, bound: float | None, candidate: Candidate) -> float:
        """The next bound on predicted loss: never looser, corrected by what was measured."""
        predicted = sum(
            self.state.losses.get((key, choice.precision), 0.0)
            for key, choice in candidate.plan.choices.items()
        )
        measured = candidate.loss or 0.0
        if not math.isfinite(measured) or measured <= 0:
            return 0.5 * (bound if bound is not None else self.max_nsr)
        allowed = min(self.max_nsr, measured * 0.5) if measured <= self.max_nsr else self.max_nsr
        proposal = 0.95 * allowed * (predicted / measured if predicted > 0 else 1.0)
        return min(proposal, 0.8 * bound) if bound is not None else proposal

    def _measure_losses(self, candidate: Candidate) -> None:
        """Sensitivities of every quantized choice of this candidate."""
        chosen = {
            key: choice.precision
            for key, choice in candidate.plan.choices.items()
            if choice.precision != FLOAT
        }

        def measure(group: Sequence[str]) -> float:
            plan = self.workshop.plan({key: chosen[key] for key in group}, "probe")
            probe = self.workshop.measured(plan)
            self.workshop.forget(self.state.frontier)
            self.progress.advance(1, f"sensitivity of {len(group)} regions")
            return math.inf if probe is None or probe.loss is None else probe.loss

        found = measure_sensitivity(
            list(chosen),
            candidate.loss or 0.0,
            measure,
            floor=self.max_nsr / 16,
            expired=lambda: self.expired,
        )
        for key, loss in found.losses.items():
            finite = loss if math.isfinite(loss) else 1e6
            self.state.losses[key, chosen[key]] = finite
            self._spread(key, chosen[key], finite)
        self._note(
            f"sensitivity: {found.probes} probes for {len(chosen)} regions"
            + ("" if found.complete else ", ended by the budget")
        )

    def _spread(self, key: str, precision: str, loss: float) -> None:
        """Other quantized forms of the region are taken to lose the same until they are tried."""
        for each in self.workshop.options:
            if each.region.key == key:
                for form in each.implementations:
                    self.state.losses.setdefault((key, form.precision), loss)

    def _try(self, precisions: Mapping[str, str], what: str) -> Candidate | None:
        plan = self.workshop.plan(precisions, what)
        candidate = self.workshop.measured(plan, self.feeds)
        if candidate is None:
            self._note(f"{what}: refused by the engine")
            return None
        self.costs.learn(candidate)
        if candidate not in self.state.frontier:
            self.state.frontier.append(candidate)
        self._note(
            f"{what}: {candidate.quantized} regions quantized, "
            f"{1e3 * (candidate.seconds or 0):.3f} ms, NSR {candidate.loss:.2e}"
        )
        self.progress.advance(1, self.state.log[-1])
        return candidate

    def _find(self, solution: Assignment) -> Candidate | None:
        for candidate in self.state.frontier:
            precisions = {k: c.precision for k, c in candidate.plan.choices.items()}
            if precisions == dict(solution.precisions):
                return candidate
        return None

    def _note(self, line: str) -> None:
        self.state.log.append(line)


def explained(plan: Plan, costs: CostModel, losses: dict[tuple[str, str], float]) -> Plan:
    """The plan with measured alternatives and losses filled in for every region."""
    choices = {}
    for key, choice in plan.choices.items():
        measured = {p: s for (k, p), s in costs.regions.items() if k == key}
        choices[key] = Choice(
            choice.precision,
            choice.reason,
            measured.get(choice.precision),
            losses.get((key, choice.precision)),
            {p: s for p, s in measured.items() if p != choice.precision},
        )
    return Plan(plan.target, choices)
