"""Trying variants: each is priced first, begun only if there is time, and kept only if it helps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from qcompiler.errors import first_line
from qcompiler.execution.stopwatch import Stopwatch
from qcompiler.ir.program import Program
from qcompiler.measurement.gain import Margin
from qcompiler.measurement.judge import Judgement
from qcompiler.measurement.loss import sqnr_db
from qcompiler.measurement.variants import Variant
from qcompiler.pipeline.contract import Stage

T = TypeVar("T")

FAR = 0.1
"""Share of the loss allowed below which a search gains nothing by less of it (10 dB)."""
LEAST_GAIN = 0.3
"""dB that a variant has to save: what less gains on a few samples is as often lost in use."""
LEAST_GAIN_OF_FLOAT = 1.0
"""The same of one that rewrites the float program: ranges of what it changes are taken anew from
few samples, the judged ones among them, which looks better than it is."""
LEAST_GAIN_OF_PLAN = 1.0
"""The same of one that gives regions back to float, which costs time."""
LEAST_GAIN_OF_PRODUCTS = 3.0
"""The same of one that gives back products, which take the time."""
_LEAST = {
    Stage.FLOAT: LEAST_GAIN_OF_FLOAT,
    Stage.PLAN: LEAST_GAIN_OF_PLAN,
    Stage.LAST: LEAST_GAIN_OF_PRODUCTS,
}
_OBSERVING = 4.0
"""Time of a run with every value observed, in float runs."""


_TESTED = 3
"""Samples from which on a test of them tells something."""
IDLE = "it changes nothing here"


@dataclass(frozen=True)
class Price:
    """What trying a variant will cost, told before it runs.

    Attributes:
        seconds: Estimate, of the pass itself and of building and judging a candidate with it.
        text: What has to be done, in words.
    """

    seconds: float
    text: str

    def __str__(self) -> str:
        return f"about {_seconds(self.seconds)}: {self.text}"


@dataclass
class Allowance:
    """What variants may cost.

    Attributes:
        left: Seconds that are left for them, now.
        samples: How many samples a variant may fit to.
        run_seconds: Time of float for one sample.
        build_seconds: Time of building and judging a candidate.
        enough: Loss from which on nothing more is gained; 0 tries to the end.
        limit: Loss that one within it must not come to exceed by a variant.
        program: What variants are for; None where prices are those of no program.
    """

    left: Callable[[], float] = lambda: math.inf
    samples: int = 0
    run_seconds: float = 0.0
    build_seconds: float = 0.0
    enough: float = 0.0
    limit: float = math.inf
    program: Program | None = None

    def price(self, variant: Variant) -> Price:
        """What a variant will cost."""
        runs = variant.accuracy.runs(self.samples, self.program)
        if variant.stage is Stage.FLOAT:  # its ranges are taken anew, on what is judged on too
            runs += _OBSERVING * 2 * self.samples
        own = runs * self.run_seconds
        return Price(own + self.build_seconds, variant.accuracy.price(self.samples))


@dataclass(frozen=True)
class Tried:
    """What trying a variant came to.

    Attributes:
        variant: Its text.
        before: Loss without it.
        after: With it; None where it failed or was not begun.
        kept: Whether it was kept.
        note: Why it failed or was not begun; else what it cost, in words.
        seconds: What it took; 0 where it was not begun.
        price: What it was said to take, in seconds.
        unit: `noise`, or `s` where seconds were compared.
    """

    variant: str
    before: float
    after: float | None
    kept: bool
    note: str = ""
    seconds: float = 0.0
    price: float = 0.0
    unit: str = "noise"

    @property
    def begun(self) -> bool:
        """Whether it was tried at all."""
        return self.after is not None or self.seconds > 0 or self.unit == "s"

    @property
    def told(self) -> str:
        """The outcome in a line."""
        if not self.begun:
            return f"{self.variant}: not begun, {self.note}"
        if self.after is None:
            return f"{self.variant}: failed, {self.note}"
        if self.note == IDLE:
            return f"{self.variant}: not kept, {self.note}"
        outcome = "kept" if self.kept else "not kept"
        if self.unit == "s":
            change = f"{1e3 * self.before:.3g} ms → {1e3 * self.after:.3g} ms"
            return f"{self.variant}: {outcome}, {change} ({self.note})"
        change = f"{sqnr_db(self.before):.1f} dB → {sqnr_db(self.after):.1f} dB"
        spent = f"{_seconds(self.seconds)}, {_seconds(self.price)} foreseen"
        return f"{self.variant}: {outcome}, {change} ({spent}; {self.note})"


def keep_if_better(
    start: T,
    known: Judgement,
    variants: Sequence[Variant],
    attempt: Callable[[T, Variant], tuple[T, Judgement] | None],
    allowance: Allowance,
) -> tuple[T, list[Tried]]:
    """Tries variants one after the other, each on what the ones before left.

    One whose price is more than what is left is not begun, and that is said; so it is where nothing
    can be gained. What counts is the loss of single samples (`helps`).

    Args:
        start: What is to be improved.
        known: What it loses on samples that no variant is fitted to.
        variants: In the order they are tried.
        attempt: Builds one with a variant; gives it with what it loses on the same samples, or
            None where the variant changes nothing. Whatever it raises, the variant is none.
        allowance: What they may cost.
    """
    best, tried = start, []
    for variant in variants:
        loss, watch, price = known.compared.loss, Stopwatch(), Price(0.0, "")
        try:
            refusal, price = _refusal(known, variant, allowance)
            if refusal:
                tried.append(Tried(variant.text, loss, None, False, refusal, price=price.seconds))
                continue
            made = attempt(best, variant)
        except Exception as error:  # noqa: BLE001 - engines raise what they like; it is reported
            why, spent = first_line(error), max(watch(), 1e-9)
            tried.append(Tried(variant.text, loss, None, False, why, spent, price.seconds))
            continue
        spent = watch()
        if made is None:
            tried.append(Tried(variant.text, loss, loss, False, IDLE, spent, price.seconds))
            continue
        found, judged = made
        kept = helps(judged, known, variant.stage, allowance.limit)
        after, note = judged.compared.loss, price.text
        tried.append(Tried(variant.text, loss, after, kept, note, spent, price.seconds))
        if kept:
            best, known = found, judged
    return best, tried


def helps(found: Judgement, known: Judgement, stage: Stage, limit: float = math.inf) -> bool:
    """Whether a variant helps: by `LEAST_GAIN` on average, beyond what chance does, and safely.

    Safely: what is within the limit stays so, and decisions that were kept well still are. What
    is for results of no use has to make one that is.

    Args:
        found: What is lost with it.
        known: Without it.
        stage: When it works.
        limit: Most loss that is allowed.
    """
    if found.loss > limit >= known.loss or (known.good and not found.good):
        return False
    if stage is Stage.LAST and found.broken:
        return False
    least = _LEAST.get(stage, LEAST_GAIN)
    share = 1 - 10 ** (-least / 10)
    if len(known.compared.each) < _TESTED:
        return found.compared.loss < (1 - share) * known.compared.loss
    return Margin(share).better(found.compared, known.compared)


def _refusal(known: Judgement, variant: Variant, allowance: Allowance) -> tuple[str, Price]:
    """Why a variant is not begun, empty if it is; and its price."""
    price, left, loss = allowance.price(variant), allowance.left(), known.loss
    if loss <= allowance.enough:
        told = (
            "nothing is lost" if loss <= 0 else f"{sqnr_db(loss):.1f} dB are far within the bound"
        )
        return told, price
    if variant.stage is Stage.PLAN and known.good and loss <= allowance.limit:
        return f"{sqnr_db(loss):.1f} dB are within the bound", price
    if variant.stage is Stage.LAST and not known.broken:
        return f"{sqnr_db(loss):.1f} dB are of use", price
    if price.seconds > left:
        return f"{price}, and {_seconds(max(left, 0.0))} are left", price
    return "", price


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
