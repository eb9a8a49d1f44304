"""What one selection is made with: the source, its workshop, samples, goal and time."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from qcompiler.config import Recipe
from qcompiler.execution.timing import Latency
from qcompiler.ir.program import Program
from qcompiler.measurement.candidates import Workshop
from qcompiler.outputs.asked import DEFAULT_NSR
from qcompiler.pipeline.contract import Progress, step
from qcompiler.search.base import Base
from qcompiler.search.goal import Goal, Samples
from qcompiler.search.proof import Proof
from qcompiler.search.state import Clock
from qcompiler.target.artifact import Artifact


@dataclass(frozen=True, eq=False)
class Setting:
    """What one selection is made with.

    Attributes:
        source: The program as it came, in float.
        baseline: The source on the target.
        base: The program that candidates are made of, with what was decided for all of them.
        samples: Feeds to calibrate, judge and time with.
        goal: What is asked for.
        effort: Rounds and seconds that may be spent.
        progress: Who is told of long steps.
        executor: Where candidates are built; None builds here.
        clock: When the search has to end.
    """

    source: Program
    baseline: Artifact
    base: Base
    samples: Samples
    goal: Goal
    effort: Recipe
    progress: Progress
    executor: Executor | None
    clock: Clock

    @property
    def workshop(self) -> Workshop:
        """Where candidates come from."""
        return self.base.workshop

    @property
    def limit(self) -> float:
        """Most loss that is allowed, as noise to signal."""
        judge = self.workshop.judge
        return DEFAULT_NSR if judge is None else judge.limit

    @property
    def proof(self) -> Proof:
        """Who times contenders."""
        effort = self.effort
        return Proof(self.baseline, self.workshop, self.samples.feeds, effort.timing, effort.turns)

    def timed(self, contenders: Mapping[str, Artifact]) -> dict[str, Latency]:
        """Times of contenders by name, and of `float`; empty where nothing can be said."""
        with step(self.progress, "time against float"):
            return self.proof.timed(contenders)
