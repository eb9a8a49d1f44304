"""What is asked of a compilation, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real

from qcompiler.choices.objective import Objective
from qcompiler.config import Scheme
from qcompiler.decisions.forms import Options
from qcompiler.errors import ConfigurationError
from qcompiler.execution.timing import Latency
from qcompiler.ir.diagnostics import Diagnostic
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.candidates import Candidate
from qcompiler.measurement.scoring import Evaluate
from qcompiler.measurement.variants import Tried, Variant
from qcompiler.target.contract import Artifact

DEFAULT_NSR = 0.0075
"""Noise-to-signal ratio allowed without `evaluate`: 21 dB."""
DEFAULT_SCORE_LOSS = 0.01
LOOSE_NSR = 0.25
"""With `evaluate`, its score decides; beyond this ratio no score is worth computing."""


@dataclass(frozen=True)
class Samples:
    """Feeds kept from calibration.

    Attributes:
        feeds: What candidates are judged and timed on.
        seen: How many feeds there were.
        fitting: What corrections are fitted to: others than `feeds`, if there are enough.
    """

    feeds: tuple[Feed, ...]
    seen: int
    fitting: tuple[Feed, ...] = ()


@dataclass(frozen=True)
class Goal:
    """What the user wants of the result; see `qcompiler.compile`.

    Raises:
        ConfigurationError: An objective or a bound that makes no sense.
    """

    scheme: Scheme
    evaluate: Evaluate | None = None
    max_loss: float | None = None
    objective: str | Mapping[str, float] = "latency"
    budget: float | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    plan: Plan | None = None
    variants: tuple[Variant, ...] = ()

    def __post_init__(self) -> None:
        Objective.of(self.objective)
        _require_not_negative("max_loss", self.max_loss)
        _require_not_negative("budget", self.budget)
        if self.evaluate is not None and not callable(self.evaluate):
            raise ConfigurationError(
                f"evaluate must be a function of `run`, it is {self.evaluate!r}",
                fix="pass a function that runs its argument on labelled feeds and returns a score",
            )
        if not isinstance(self.overrides, Mapping) or not all(
            isinstance(part, str) for item in self.overrides.items() for part in item
        ):
            raise ConfigurationError(
                f"overrides must map globs to precisions, they are {self.overrides!r}",
                fix="pass a dict such as {'op:Gemm': 'float32'}",
            )
        if self.plan is not None and not isinstance(self.plan, Plan):
            raise ConfigurationError(
                f"plan must be a Plan, it is {self.plan!r}", fix="read it with qc.Plan.read(path)"
            )

    @property
    def max_nsr(self) -> float:
        """Bound on the noise-to-signal ratio that the search works with."""
        if self.evaluate is not None:
            return LOOSE_NSR
        return DEFAULT_NSR if self.max_loss is None else self.max_loss

    @property
    def allowed(self) -> float:
        """Loss of the user's score that is allowed."""
        return DEFAULT_SCORE_LOSS if self.max_loss is None else self.max_loss


def _require_not_negative(name: str, value: object) -> None:
    if value is None or (isinstance(value, Real) and float(value) >= 0):
        return
    raise ConfigurationError(
        f"{name} must be a number and not negative, it is {value!r}",
        fix=f"give a number such as {name}=0.5, or leave it out",
    )


@dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen, and what it was compared with.

    Attributes:
        artifact: The result.
        program: Its program.
        base: The float program, canonical and calibrated, that the regions of `options` are in.
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
        predicted: Loss that the sensitivities predict for the result, if they were measured.
        tried: Variants that were tried on the way to the result.
        warnings: What the result does not keep of what is promised, the worst first.
        diagnostics: What was found on the way.
        interrupted: Whether the user ended the search; the result is the best until then.
        losses: Loss by (region key, precision) of that choice alone; empty where sensitivities were
            not measured.
    """

    artifact: Artifact
    program: Program
    base: Program
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
    predicted: float | None = None
    tried: tuple[Tried, ...] = ()
    warnings: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    interrupted: bool = False
    losses: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def is_float(self) -> bool:
        """Whether no region is quantized."""
        return set(self.plan.precisions.values()) <= {FLOAT}
