"""What is asked of a compilation, and what was chosen."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

from qcompiler.choices.objective import Objective
from qcompiler.decisions.options import Options
from qcompiler.decisions.schemes import Scheme
from qcompiler.errors import ConfigurationError
from qcompiler.execution.timing import Latency
from qcompiler.ir.diagnostics import Diagnostic
from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.candidates import Candidate
from qcompiler.measurement.scoring import Evaluate
from qcompiler.measurement.slices import OutputSlices
from qcompiler.measurement.trying import Tried
from qcompiler.measurement.variants import Variant
from qcompiler.measurement.views import Taken, views_of
from qcompiler.outputs.analysis import output_kinds
from qcompiler.outputs.asked import (
    Asked,
    MaxLoss,
    OutputLoss,
    check_loss,
    output_losses_of,
)
from qcompiler.outputs.tolerance import LOOSE_NSR, Tolerance
from qcompiler.outputs.tolerances import seen_through, tolerances_of
from qcompiler.quantization.observers import Observer
from qcompiler.target.artifact import Artifact

DEFAULT_SCORE_LOSS = 0.01
_SCORED = "the score of `evaluate` decides"


@dataclass(frozen=True)
class Samples:
    """Feeds kept from calibration.

    Attributes:
        feeds: What candidates are judged and timed on.
        seen: How many feeds there were.
        fitting: What corrections are fitted to: others than `feeds`, if there are enough.
        digest: Of all feeds, see `Keeper.digest`; empty without.
    """

    feeds: tuple[Feed, ...]
    seen: int
    fitting: tuple[Feed, ...] = ()
    digest: str = ""

    @property
    def all_kept(self) -> tuple[Feed, ...]:
        """Feeds that judge and others that are fitted to."""
        return (*self.feeds, *self.apart)

    @property
    def apart(self) -> tuple[Feed, ...]:
        """Feeds to fit to that nothing is judged on."""
        judged = {id(each) for each in self.feeds}
        return tuple(each for each in self.fitting if id(each) not in judged)


@dataclass(frozen=True)
class Goal:
    """What the user wants of the result; see `qcompiler.compile`.

    Raises:
        ConfigurationError: An objective or a bound that makes no sense.
    """

    scheme: Scheme
    evaluate: Evaluate | None = None
    max_loss: MaxLoss | None = None
    objective: str | Mapping[str, float] = "latency"
    budget: float | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    plan: Plan | None = None
    variants: tuple[Variant, ...] = ()
    loss: Asked | None = None

    def __post_init__(self) -> None:
        Objective.of(self.objective)
        check_loss(self.loss, self.max_loss)
        self._require_one_judge()
        require_not_negative("budget", self.budget)
        if self.evaluate is not None and not _takes_one(self.evaluate):
            raise ConfigurationError(
                f"evaluate must be a function of `run`, it is {_described(self.evaluate)}",
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

    def _require_one_judge(self) -> None:
        if self.evaluate is None:
            return
        if self.loss is not None:
            raise ConfigurationError(
                "loss and evaluate are both given", fix="take one: a score judges whole models"
            )
        if isinstance(self.max_loss, Mapping):
            raise ConfigurationError(
                "max_loss is by output, and evaluate gives one score", fix="give one number"
            )

    @property
    def allowed(self) -> float:
        """Loss of the user's score that is allowed."""
        given = self.max_loss
        return DEFAULT_SCORE_LOSS if given is None or isinstance(given, Mapping) else float(given)

    def asked(self, names: Sequence[str]) -> list[OutputLoss | None]:
        """What is asked of every output; None where the analysis decides.

        Raises:
            ConfigurationError: See `output_losses_of`.
        """
        if self.evaluate is not None:
            return [None for _ in names]
        return output_losses_of(self.loss, self.max_loss, names)

    def tolerances(
        self,
        source: Program,
        reference: Sequence[Sequence[Any]],
        slices: Sequence[OutputSlices],
    ) -> list[Tolerance]:
        """How much every output may lose; where a score decides, flips are only counted.

        Args:
            source: Whose outputs these are.
            reference: What it gives, per sample.
            slices: Which parts of outputs are judged apart, of these samples.
        """
        names = source.signature.output_names
        kinds = output_kinds(source, reference)
        asked = self.asked(names)
        free = [each is None for each in asked]
        views = views_of(names, kinds, free, slices, reference)
        taken = Taken(tuple(view for view, _ in views), tuple(slices))
        made = tolerances_of(
            [view.name for view, _ in views],
            [kind for _, kind in views],
            [None if view.whole is None else asked[view.whole] for view, _ in views],
            taken.all(reference),
            [each.judged_labels for each in taken.view_slices()],
        )
        found = [seen_through(view, each) for each, (view, _) in zip(made, views, strict=True)]
        if self.evaluate is None:
            return found
        return [replace(each, bound=LOOSE_NSR, reason=_SCORED) for each in found]


def _takes_one(function: object) -> bool:
    """Whether it can be called with one argument; where nothing tells, it may."""
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # built in, without a signature
        pass
    return True


def _described(given: object) -> str:
    """What was given for a function, and how it is called."""
    name = getattr(given, "__name__", None)
    if not callable(given) or name is None:
        return reprlib.repr(given)
    return f"{name}{inspect.signature(given)}"


def require_not_negative(name: str, value: object) -> None:
    """Holds an argument that is a number of seconds, of loss.

    Raises:
        ConfigurationError: It is none; None, which leaves it out, may be.
    """
    if value is None:
        return
    if isinstance(value, Real) and not isinstance(value, bool) and float(value) >= 0:
        return
    raise ConfigurationError(
        f"{name} must be a number and not negative, it is {value!r}",
        fix=f"give a number such as {name}=0.5, or leave it out",
    )


@dataclass(frozen=True)
class EngineResult:
    """What became of one engine among several.

    Attributes:
        name: Of the target.
        outcome: In words: chosen, slower, not tried, not installed, failed, and why.
        latency: Timed beside the others, relative to the yardstick's float; None if it was not.
        loss: Noise-to-signal ratio against the yardstick's float.
        score: The user's score of it, if there is one.
        quantized: Regions that are not float.
        chosen: Whether it is the result.
    """

    name: str
    outcome: str
    latency: Latency | None = None
    loss: float | None = None
    score: float | None = None
    quantized: int | None = None
    chosen: bool = False


@dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen, and what it was compared with.

    Attributes:
        artifact: The result.
        program: Its program.
        base: The float program, canonical and calibrated, that the regions of `options` are in.
        plan: Its plan, with measured alternatives.
        summary: Why it was chosen, in a sentence.
        baseline: The source model in float, on the same engine or on the one that is the yardstick.
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
        observed: What calibration saw, by value name, before variants took other ranges.
        losses: Loss by (region key, precision) of that choice alone; empty where sensitivities were
            not measured.
        tolerances: How much every output may lose, and why; empty where nothing was judged.
        engines: What became of each engine, where several were tried.
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
    observed: Mapping[str, Observer] = field(default_factory=dict)
    tolerances: tuple[Tolerance, ...] = ()
    engines: tuple[EngineResult, ...] = ()

    @property
    def demanded(self) -> bool:
        """Whether overrides want integers, so that float is no answer where there is another."""
        return any(each.demanded for each in self.options)
