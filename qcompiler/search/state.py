"""How far a search goes, and what it knows so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from qcompiler.choices.prediction import LossModel
from qcompiler.execution.stopwatch import Stopwatch
from qcompiler.measurement.candidates import Candidate


@dataclass(frozen=True)
class Clock:
    """The budget of variants and search together.

    Attributes:
        now: Seconds: of the clock on the wall where the user gave a budget, else of work, so that
            what is tried within a recipe's time does not depend on what else the machine does.
        deadline: Value of `now` at which it ends.
        strict: Whether the user gave it.
        seconds: All of it.
        share: Share of a soft budget that variants of the base may take.
    """

    now: Callable[[], float]
    deadline: float
    strict: bool
    seconds: float
    share: float = 1.0

    @classmethod
    def of(
        cls, budget: float | None, usual: float, share: float = 1.0, alone: bool = True
    ) -> Clock:
        """One that starts now: the user's budget, or the recipe's usual one.

        Args:
            budget: In seconds, if there is one.
            usual: The recipe's.
            share: Of a soft budget, what variants of the base may take.
            alone: Whether this process does all the work.
        """
        seconds = usual if budget is None else float(budget)
        now = Stopwatch() if budget is None and alone else time.monotonic
        return cls(now, now() + seconds, budget is not None, seconds, share)

    def left(self) -> float:
        """Seconds until the end, never negative."""
        return max(self.deadline - self.now(), 0.0)

    def left_before_search(self) -> float:
        """What may be spent before a search begins."""
        return self.left() - (1 - _BEFORE) * self.seconds

    def left_to_try(self, searching: bool) -> Callable[[], float]:
        """What variants of the base may take, from now on."""
        whole = self.left_before_search if searching else self.left
        if self.strict:
            return whole
        end = self.now() + self.share * self.seconds
        return lambda: min(whole(), end - self.now())

    def left_to_refine(self) -> float:
        """What may be spent on the candidates that a search ends with."""
        return self.left() if self.strict else max(self.left(), _AFTER * self.seconds)


_BEFORE, _AFTER = 0.5, 0.25
"""Shares of a budget: what variants of the base may take, and those of a result that a search which
used up a soft budget ends with."""


@dataclass(frozen=True)
class Limits:
    """How far the search goes.

    Attributes:
        max_nsr: Bound on the noise-to-signal ratio.
        deadline: Value of `now` to stop at.
        rounds: Most solve-and-measure rounds.
        probes: Most probes of sensitivity; 0 measures none.
        refine_above: Loss above which variants are worth trying on a solved plan.
        strict: The deadline is the user's: past it, at most what is under way is finished. A soft
            one may be overrun until sensitivities are measured and used.
        now: Seconds, as the clock of the search has them.
    """

    max_nsr: float
    deadline: float = math.inf
    rounds: int = 8
    probes: int = 100
    refine_above: float = math.inf
    strict: bool = False
    now: Callable[[], float] = time.monotonic

    @property
    def over(self) -> bool:
        """Whether nothing new may be begun."""
        return self.strict and self.expired

    @property
    def expired(self) -> bool:
        return self.now() > self.deadline

    @property
    def left(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(self.deadline - self.now(), 0.0)


@dataclass
class SearchState:
    """What the search knows; `frontier` holds every measured candidate.

    Attributes:
        frontier: All candidates measured, float first.
        sensitivities: Losses of single quantizations as probed, once that was done.
        losses: The same, fitted to the plans measured since.
        log: One line per step, for the report.
        interrupted: Whether the user ended it.
    """

    frontier: list[Candidate] = field(default_factory=list)
    sensitivities: LossModel | None = None
    losses: LossModel | None = None
    log: list[str] = field(default_factory=list)
    interrupted: bool = False
