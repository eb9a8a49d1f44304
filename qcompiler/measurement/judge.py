"""`Judge`: what candidates lose on kept samples; float's outputs are computed once.

Every output has its own bound (`qcompiler.outputs`). A search needs one number, so losses of
outputs with wider bounds count less: times the strictest bound over their own.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qcompiler.execution.stopwatch import Stopwatch
from qcompiler.ir.signature import Feed
from qcompiler.measurement.gain import Look, look
from qcompiler.measurement.loss import Outputs, output_losses, weighed
from qcompiler.measurement.slices import OutputSlices, plain_slices
from qcompiler.measurement.views import Taken
from qcompiler.outputs.asked import AGREEMENT, COSINE, DEFAULT_NSR, FUNCTION
from qcompiler.outputs.tolerance import Tolerance, Verdict
from qcompiler.outputs.views import View

Run = Callable[[Feed], Sequence[Any]]
Slicing = Callable[[Sequence[Feed], Sequence[Outputs]], Sequence[OutputSlices]]
"""From the samples and what float gives for them to the slices of every output."""
Tolerating = Callable[[Sequence[Outputs], Sequence[OutputSlices]], Sequence[Tolerance]]
"""From what float gives and the slices to how much every output may lose."""

BROKEN = 10**-1.5
"""Noise-to-signal ratio (15 dB) beyond which an output is of no use."""
_LEAST_BOUND = 1e-12
"""Stands for a bound of 0 beside others, which weights could not tell from it."""


@dataclass(frozen=True)
class Judgement:
    """What a candidate loses.

    Attributes:
        loss: The worst of its outputs, by weight: what the judge's limit bounds.
        losses: Of every output, in its own noise-to-signal ratio.
        verdicts: What is kept of the decisions of every output; None where nothing decides.
        compared: What variants are compared by, sample by sample: the loss, of classes by their
            logits (`Tolerance.comparable`).
    """

    loss: float
    losses: tuple[float, ...]
    verdicts: tuple[Verdict | None, ...] = ()
    compared: Look = field(default_factory=lambda: Look(math.inf))

    @property
    def good(self) -> bool:
        """Whether no output has more flips than are allowed."""
        return all(each is None or each.good for each in self.verdicts)

    @property
    def broken(self) -> bool:
        """Whether an output keeps too little to be of use: by noise, or by decisions that flip."""
        return not self.good or max(self.losses, default=0.0) > BROKEN


class Judge:
    """Measures candidates on kept samples.

    Attributes:
        feeds: The samples.
        taken: What is judged of the outputs: each as it is, parts of one, or several together.
            "Outputs" are these, from here on.
        reference: Outputs of float for the samples.
        slices: How every output is judged.
        tolerances: How much every output may lose, and why; none in a worker.
        margins: The same, with what predicts flips, over `more` samples too: decisions are counted
            on the judge's own, and the more margins are known the better.
        limit: Most loss that is allowed.
        run_seconds: What one sample took in float, the median: the first run is slower.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        float_run: Run,
        slicing: Slicing | None = None,
        tolerating: Tolerating | None = None,
        more: Sequence[Feed] = (),
    ) -> None:
        self.feeds, self._more = list(feeds), list(more)
        raw: list[list[Any]] = []
        took = []
        for feed in self.feeds:
            watch = Stopwatch()
            raw.append(list(float_run(feed)))
            took.append(watch())
        self.run_seconds = statistics.median(took) if took else 0.0
        sliced = slicing or (lambda _, reference: plain_slices(reference))
        tolerated = tolerating or (lambda _, slices: ())
        slices = list(sliced(self.feeds, raw))
        found = wide = tuple(tolerated(raw, slices))
        rest: list[list[Any]] = []
        if self._more and any(each.decides for each in found):
            rest = [list(float_run(feed)) for feed in self._more]
            before, slices = slices, list(sliced([*self.feeds, *self._more], [*raw, *rest]))
            first = [each.first(len(raw)) for each in slices]
            if not all(map(OutputSlices.alike, before, first)):
                found = tuple(tolerated(raw, first))
            wide = tuple(tolerated([*raw, *rest], slices))
        self._wide = _taken(wide, slices)
        self.taken = self._wide.at(range(len(raw)))
        self.reference = self.taken.all(raw)
        self._rest = self._wide.all(rest, len(raw))
        self._plain = self.taken.view_slices()
        self._take(found, wide)

    def loss(self, run: Run) -> float:
        """Loss of a candidate over all samples."""
        return self._judgement(self._measured(run)).loss

    def losses(self, run: Run) -> list[float]:
        """Loss of every output of a candidate over all samples."""
        return output_losses(self.reference, self._measured(run), self.slices)

    def judged(self, run: Run) -> Judgement:
        """Loss and flips of a candidate over all samples."""
        return self._judged(self._measured(run))

    def settled(self, run: Run) -> tuple[Judge, Judgement]:
        """A judge whose bounds rest on the noise that a candidate shows, and what it judges."""
        here = self._measured(run)
        judge = self._after(run, here)
        return judge, judge._judged(here)

    def _judged(self, measured: Sequence[Outputs]) -> Judgement:
        found = self._judgement(measured)
        verdicts = [
            tolerance.judged(*self._columns(position, measured))
            for position, tolerance in enumerate(self.tolerances)
        ]
        return replace(found, verdicts=tuple(verdicts), compared=self._compared(measured))

    def _after(self, run: Run, here: Sequence[Outputs]) -> Judge:
        """A judge with the noise of a candidate, which gave `here` on the judge's samples."""
        if not any(each.decides for each in self.tolerances):
            return self
        near = _after(self.tolerances, self.reference, here)
        wide = near
        if self.margins is not self.tolerances:
            rest = self._wide.all([list(run(feed)) for feed in self._more], len(self.feeds))
            wide = _after(self.margins, [*self.reference, *self._rest], [*here, *rest])
        changed = copy.copy(self)
        changed._take(near, wide)
        return changed

    @property
    def has_functions(self) -> bool:
        """Whether a function of the user's judges an output, of which noise says nothing."""
        return any(each.loss == FUNCTION for each in self.tolerances)

    def _take(self, near: tuple[Tolerance, ...], wide: tuple[Tolerance, ...]) -> None:
        """Takes over tolerances, with the bounds that rest on more samples."""
        pairs = zip(near, wide, strict=True)
        tolerances = tuple(replace(each, bound=other.bound) for each, other in pairs)
        self.tolerances, self.margins = tolerances, tolerances if wide is near else wide
        bounds = [each.bound for each in tolerances]
        if not bounds or min(bounds) == max(bounds):
            self.limit = bounds[0] if bounds else DEFAULT_NSR
            weights = [1.0] * len(self._plain)
        else:
            bounds = [max(each, _LEAST_BOUND) for each in bounds]
            self.limit = min(bounds)
            weights = [self.limit / each for each in bounds]
        self.slices = [
            _judged_as(each, weight, tolerances[i] if tolerances else None)
            for i, (each, weight) in enumerate(zip(self._plain, weights, strict=True))
        ]

    def _compared(self, measured: Sequence[Outputs]) -> Look:
        """What is lost sample by sample, in logits where they tell more than probabilities."""
        wanted, got = ([list(each) for each in outputs] for outputs in (self.reference, measured))
        slices = list(self.slices)
        for position, tolerance in enumerate(self.tolerances):
            mine, theirs = self._columns(position, measured)
            plain, noisy = tolerance.comparable(mine), tolerance.comparable(theirs)
            if plain is None or noisy is None:
                continue
            for i, pair in enumerate(zip(plain, noisy, strict=True)):
                wanted[i][position], got[i][position] = pair
            weight = slices[position].weight * tolerance.per_logit
            slices[position] = OutputSlices((False,), (None,) * len(mine), weight)
        return look(wanted, got, slices)

    def _judgement(self, measured: Sequence[Outputs]) -> Judgement:
        losses = output_losses(self.reference, measured, self.slices)
        return Judgement(weighed(losses, self.slices), tuple(losses))

    def _columns(self, position: int, measured: Sequence[Outputs]) -> tuple[list[Any], list[Any]]:
        """One output per sample: of float, and of a candidate."""
        return (
            [outputs[position] for outputs in self.reference],
            [_plain_array(outputs[position]) for outputs in measured],
        )

    def _measured(self, run: Run) -> list[list[Any]]:
        return self.taken.all([list(run(feed)) for feed in self.feeds])

    def __getstate__(self) -> dict[str, Any]:
        """Without tolerances, which may hold functions of the user's: workers measure losses."""
        without = {"tolerances": (), "margins": (), "_more": [], "_rest": [], "_wide": self.taken}
        return {**self.__dict__, **without}


def _taken(tolerances: Sequence[Tolerance], slices: Sequence[OutputSlices]) -> Taken:
    """What the tolerances are about; every output as it is where there are none."""
    whole = [View("", ((position, None),)) for position in range(len(slices))]
    found = [each.view or whole[i] for i, each in enumerate(tolerances)] or whole
    return Taken(tuple(found), tuple(slices))


def _after(
    tolerances: Sequence[Tolerance], reference: Sequence[Outputs], measured: Sequence[Outputs]
) -> tuple[Tolerance, ...]:
    """Tolerances with the noise that these outputs show."""
    losses = output_losses(reference, measured)
    return tuple(
        tolerance.after([_plain_array(outputs[position]) for outputs in measured], losses[position])
        for position, tolerance in enumerate(tolerances)
    )


def _judged_as(slices: OutputSlices, weight: float, tolerance: Tolerance | None) -> OutputSlices:
    if tolerance is None:
        return slices
    if tolerance.decides:  # classes of different size are one decision
        slices = OutputSlices((False,), (None,) * len(slices.groups))
    if tolerance.loss == AGREEMENT and tolerance.asked is not None:
        slices = OutputSlices((True,), (None,) * len(slices.groups))
    return replace(slices, weight=weight, unit=tolerance.loss == COSINE)


def _plain_array(output: Any) -> Any:
    return output if output is None or isinstance(output, list) else np.asarray(output)
