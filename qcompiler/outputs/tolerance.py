"""`Tolerance`: how much noise one output bears, why, and whether a result keeps to it.

Noise-to-signal is what a search adds up; its bound follows from what the output is for. Of
decisions it is the largest ratio at which the flips that are predicted are either few enough
(`FEW`), or cost little enough (`CHEAP`). Both stand for half a point of accuracy: half a percent of
flips cannot cost more, and many more cost no more where the network hardly prefers one class, by
its own probabilities. Networks are surer than they are right (Guo et al. 2017, On Calibration of
Modern Neural Networks), so what flips cost by their probabilities is mostly too much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qcompiler.outputs.asked import AGREEMENT, DEFAULT_NSR, FUNCTION, OutputLoss
from qcompiler.outputs.decisions import Array, logits_of
from qcompiler.outputs.flips import Flips, largest_ratio, more_than_chance
from qcompiler.outputs.kinds import OutputKind, Purpose, Scale
from qcompiler.outputs.noise import LogitNoise, noise_of
from qcompiler.outputs.reading import Reading, worst
from qcompiler.outputs.views import View

FEW = 0.005
"""Share of decisions that may flip whatever they cost."""
CHEAP = 0.005
"""What flips may cost however many they are, in accuracy."""
TEXT = 0.01
"""Both of symbols of a text: one in a hundred, a point of the error rate at worst."""
LEAST_RATIO, MOST_RATIO = 1e-4, 0.1
"""A derived bound is between these ratios of noise to signal in the logits: below 40 dB float
itself is no better defined than the rounding of its engine; above 10 dB noise does not add up."""
SHIFT = 1.25
"""Noise of the data in use over that of the data judged on, as a ratio of powers: 1 dB. More
was measured between calibration and evaluation data of classifiers (docs/loss.md), but 3 dB cost
mobilenet_v2 a quarter of its speed and kept no more of its decisions."""
LOOSE_NSR = 0.25
"""Bound where something else than noise decides; beyond it nothing else is worth computing."""


@dataclass(frozen=True)
class Verdict:
    """What a result keeps of one output's decisions, counted.

    Attributes:
        flipped: How many decisions changed.
        decisions: Of how many.
        share: Of those that count.
        cost: What the flips cost, or the loss of a function.
        good: Whether that is within what is allowed, chance considered.
    """

    flipped: int
    decisions: int
    share: float
    cost: float
    good: bool


@dataclass(frozen=True, eq=False)
class Tolerance:
    """How much one output may lose. Picklable but for functions of the user's.

    Attributes:
        output: Its name.
        loss: What it is judged by: `sqnr`, `top1`, ...
        kind: What it is for.
        reason: Why it is judged so.
        bound: Noise-to-signal ratio that is allowed.
        asked: What the user asked for; None if the analysis decided.
        few: Share of decisions that may flip whatever they cost.
        cheap: What flips may cost.
        logits: Of float on the samples, for decisions.
        readings: How decisions are read.
        noise: What noise does to them.
        view: The elements that it is about; the output as it is where absent.
        at_least: Noise that is allowed whatever the decisions say.
    """

    output: str
    loss: str
    kind: OutputKind
    reason: str
    bound: float
    asked: OutputLoss | None = None
    few: float = FEW
    cheap: float = CHEAP
    logits: Array | None = None
    readings: tuple[Reading, ...] = ()
    noise: LogitNoise | None = None
    view: View | None = None
    at_least: float = 0.0

    @property
    def decides(self) -> bool:
        """Whether real flips can be counted."""
        return bool(self.readings)

    @property
    def per_logit(self) -> float:
        """The ratio of the output at which noise is as large as the signal in logits."""
        return 1.0 if self.noise is None else self.noise.ratio_of(1.0)

    def comparable(self, outputs: Sequence[Any]) -> list[Array] | None:
        """Centred logits, per sample, where outputs are probabilities of classes; else None.

        Probabilities near 0 and 1 have next to no noise: over a few samples, the loss of a
        classifier is that of the one or two which it is unsure of, and tells variants by luck.
        """
        certain = self.kind.scale is Scale.PROBABILITIES and self.kind.purpose is Purpose.CLASSES
        if not certain or self.noise is None or not _arrays(outputs):
            return None
        rows = [logits_of(self.kind, [each]) for each in outputs]
        return [each - each.mean(1, keepdims=True) for each in rows]

    def predicted(self, ratio: float) -> Flips | None:
        """Flips at a noise-to-signal ratio; None where nothing decides."""
        if self.noise is None or not self.readings:
            return None
        return worst([each.predicted(self.noise, ratio) for each in self.readings])

    def keeps(self, ratio: float) -> bool:
        """Whether the flips predicted at a ratio are few or cheap."""
        return self.keeping(ratio)(ratio)

    def keeping(self, most: float) -> Callable[[float], bool]:
        """The same as a function of the ratio, up to a largest one."""
        noise = self.noise
        if noise is None:
            return lambda ratio: False
        found = [each.prediction(noise, most) for each in self.readings]
        return lambda ratio: all(self._allows(each(ratio)) for each in found)

    def _allows(self, flips: Flips) -> bool:
        return flips.share <= self.few or flips.cost <= self.cheap

    def after(self, outputs: Sequence[Any], ratio: float) -> Tolerance:
        """The same with the noise that a candidate showed, and the bound that follows.

        Args:
            outputs: What the candidate gave, per sample.
            ratio: Its noise-to-signal ratio; broken ones tell nothing.
        """
        if self.logits is None or not 0 < ratio <= LOOSE_NSR or not _arrays(outputs):
            return self
        noise = noise_of(self.kind, self.logits, outputs, ratio)
        if noise is None:
            return self
        return derived(replace(self, noise=noise))

    def judged(self, reference: Sequence[Any], outputs: Sequence[Any]) -> Verdict | None:
        """What a result keeps: flips that are counted, or what the user's function says."""
        if self.loss == FUNCTION:
            return self._by_function(reference, outputs)
        if self.loss == AGREEMENT and _arrays(outputs):
            return _differing(reference, outputs)
        if self.logits is None or not self.readings:
            return None
        noisy = logits_of(self.kind, outputs) if _arrays(outputs) else np.empty((0, 1))
        if noisy.shape != self.logits.shape:
            return Verdict(len(self.logits), len(self.logits), 1.0, 1.0, False)
        found = [self._counted(each, noisy) for each in self.readings]
        return max(found, key=lambda each: (not each.good, each.cost, each.share))

    def _counted(self, reading: Reading, noisy: Array) -> Verdict:
        assert self.logits is not None
        flips, costs = reading.counted(self.logits, noisy)
        counted = max(reading.decisions.counted, 1.0)
        foreseen = None if self.noise is None else reading.predicted(self.noise, self.bound)
        size = foreseen.square / foreseen.cost if foreseen and foreseen.cost else 1.0
        many = more_than_chance(float(flips), self.few * counted, 1.0)
        dear = more_than_chance(costs, self.cheap * counted, size)
        share, cost = (min(each / counted, 1.0) for each in (flips, costs))
        return Verdict(flips, reading.total, share, cost, not (many and dear))

    def _by_function(self, reference: Sequence[Any], outputs: Sequence[Any]) -> Verdict:
        assert self.asked is not None
        assert self.asked.function is not None
        pairs = zip(reference, outputs, strict=True)
        losses = [float(self.asked.function(a, b)) for a, b in pairs]
        mean = float(np.mean(losses)) if losses else 0.0
        return Verdict(0, len(losses), mean, mean, mean <= self.asked.allowed)


def derived(tolerance: Tolerance) -> Tolerance:
    """With the bound that follows from its decisions and noise.

    Where all decisions are the same, nothing is known of close ones, and the bound is that of
    plain values. Limits hold of logits too, so that an offset, which decides nothing, does not
    count as signal. Unless the user asked for it, the bound leaves room for data in use that are
    noisier than the data judged on.
    """
    noise = tolerance.noise
    if noise is None or not tolerance.readings:
        return tolerance

    def limit(ratio: float) -> float:
        if tolerance.kind.scale is Scale.PROBABILITIES:
            return ratio
        return min(ratio, noise.ratio_of(ratio))

    if any(not each.decisions.counted for each in tolerance.readings):
        return replace(tolerance, bound=limit(DEFAULT_NSR))
    low = min(LEAST_RATIO, noise.ratio_of(LEAST_RATIO))
    high = limit(MOST_RATIO if tolerance.asked is None else LOOSE_NSR)
    found = largest_ratio(tolerance.keeping(high), min(low, high), high)
    bound = found if tolerance.asked is not None else found / SHIFT
    return replace(tolerance, bound=max(bound, tolerance.at_least))


def _differing(reference: Sequence[Any], outputs: Sequence[Any]) -> Verdict:
    """Labels that differ; the bound on the share that they stand for decides."""
    total = sum(each.size for each in reference)
    flips = sum(
        int(np.count_nonzero(a != b)) if a.shape == b.shape else a.size
        for a, b in zip(reference, outputs, strict=True)
    )
    share = flips / max(total, 1)
    return Verdict(flips, total, share, share, True)


def _arrays(outputs: Sequence[Any]) -> bool:
    return bool(outputs) and all(isinstance(each, np.ndarray) for each in outputs)
