"""The rows of a report: one region, pass, figure, variant or configuration each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qcompiler.errors import ConfigurationError
from qcompiler.ir.plan import FLOAT


@dataclass(frozen=True)
class RegionRow:
    """One region and what became of it.

    Attributes:
        region: Key of the region (name of its anchor node).
        ops: Its ops, such as `Conv+Relu`.
        module: Dotted module path in the source, if it is known.
        source: `file:line` of the user's code, if it is known.
        precision: `float32` or the name of the implementation.
        reason: Why it has this precision.
        seconds: Time of the compiled region for one call, measured or estimated.
        float_seconds: Time of its float form.
        loss: Loss of the outputs (noise-to-signal ratio) when this region alone is quantized: in
            its form, of a float region in the one that loses least; None where sensitivities were
            not measured.
        noise: Noise-to-signal ratio that its own roundings (weight and result) add, estimated from
            the weight and from calibration's histogram; None where it is float or unknown.
        float_nbytes: Bytes of its stored operands in float.
        nbytes: Bytes of its stored operands as compiled.
        shape: Of its result, such as `float32[N,64,56,56]`.
        forms: Every precision that it may have, with seconds where they are known.
        losses: As `loss`, by precision.
        reads: Keys of the values (`Report.values`) that it reads in integers.
        weight: Key of its weight, if that is quantized.
        writes: Key of its result, if that is quantized.
    """

    region: str
    ops: str
    precision: str
    module: str | None = None
    source: str | None = None
    reason: str = ""
    seconds: float | None = None
    float_seconds: float | None = None
    loss: float | None = None
    noise: float | None = None
    float_nbytes: int | None = None
    nbytes: int | None = None
    shape: str = ""
    forms: Mapping[str, float | None] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    weight: str | None = None
    writes: str | None = None

    @property
    def is_float(self) -> bool:
        return self.precision == FLOAT

    @property
    def name(self) -> str:
        """What a reader knows it by: the module path, else the key."""
        return self.module or self.region


@dataclass(frozen=True)
class PassRow:
    """One execution of a pass: number from 1, name, wall seconds, edits made."""

    number: int
    name: str
    seconds: float
    edits: int


@dataclass(frozen=True)
class Figure:
    """One figure of the float model and of the compiled one.

    Attributes:
        name: `latency`, `size`, `accuracy`, ...
        unit: `s`, `bytes`, or empty for a plain number.
        float_value: The float model's.
        compiled_value: The compiled model's.
        better: `lower` or `higher`.
        interval: 95 % confidence interval of `gain`, if it was measured.
        rounds: Rounds of measurement behind it.
    """

    name: str
    unit: str
    float_value: float
    compiled_value: float
    better: str = "lower"
    interval: tuple[float, float] | None = None
    rounds: int = 0

    def __post_init__(self) -> None:
        if self.better not in ("lower", "higher"):
            raise ConfigurationError(f"better is 'lower' or 'higher', not {self.better!r}")

    @property
    def gain(self) -> float | None:
        """How many times better: float over compiled where lower is better; None for plain ones."""
        if self.better == "higher" or self.compiled_value == 0:
            return None
        return self.float_value / self.compiled_value


@dataclass(frozen=True)
class VariantRow:
    """An accuracy pass that was tried.

    Attributes:
        name: As in a pipeline text.
        before: Noise-to-signal ratio of the outputs without it, or seconds.
        after: With it; None where it failed or was not begun.
        kept: Whether it was kept.
        note: What it cost in words, why it failed, or why it was not begun.
        told: The outcome in a line.
        seconds: What it took; 0 where it was not begun.
        price: Seconds that it was said to take before it began.
        unit: `noise`, or `s` where seconds were compared.
    """

    name: str
    before: float
    after: float | None
    kept: bool
    note: str = ""
    told: str = ""
    seconds: float = 0.0
    price: float = 0.0
    unit: str = "noise"


@dataclass(frozen=True)
class OutputRow:
    """One output, how it is judged, and what the result keeps of it.

    Attributes:
        name: Of the output.
        loss: What it is judged by: `top1`, `text`, `sqnr`, ...
        reason: Why.
        allowed: Noise-to-signal ratio that is allowed; None where something else decides.
        kept: That of the result; None where float is returned or nothing was measured.
        predicted: Share of decisions that flip, as predicted from margins at that ratio.
        flipped: How many decisions flip on the samples that were judged, counted; None where
            nothing decides.
        decisions: Of how many.
        share: Of those that count, as predicted.
        cost: What these flips cost, a share of accuracy; or what the user's function says.
    """

    name: str
    loss: str
    reason: str
    allowed: float | None = None
    kept: float | None = None
    predicted: float | None = None
    flipped: int | None = None
    decisions: int = 0
    share: float | None = None
    cost: float | None = None


@dataclass(frozen=True)
class FrontierRow:
    """One configuration that was measured.

    Attributes:
        index: What `Compiled.at` takes.
        seconds: Time of one run, None if not measured.
        loss: Noise-to-signal ratio of the outputs, None if not measured.
        nbytes: Size as saved.
        quantized: Regions that are not float.
        best: No other one beats it in time, loss and size.
        chosen: It is what was returned.
    """

    index: int
    seconds: float | None
    loss: float | None
    nbytes: int
    quantized: int
    best: bool = False
    chosen: bool = False


@dataclass(frozen=True)
class SampleCounts:
    """Feeds of calibration, those candidates were judged on, those corrections were fitted to."""

    seen: int
    judged: int
    fitted: int

    def __str__(self) -> str:
        return f"{self.seen} samples: {self.judged} to judge by, {self.fitted} to fit to"


@dataclass(frozen=True)
class EngineRow:
    """One engine of several, and what became of it.

    Attributes:
        engine: Name of the target.
        outcome: In words.
        chosen: Whether it is the result.
        seconds: Time of one run, timed beside the others; None if it was not.
        speed: Times as fast as the yardstick's float; an interval where that is wide.
        evidence: What stands behind the speed.
        loss: Noise-to-signal ratio of its outputs against the yardstick's float.
        score: The user's score of it.
        quantized: Regions that are not float.
    """

    engine: str
    outcome: str
    chosen: bool = False
    seconds: float | None = None
    speed: str = ""
    evidence: str = ""
    loss: float | None = None
    score: float | None = None
    quantized: int | None = None
