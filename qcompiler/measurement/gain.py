"""When a change is better: what two candidates lose sample by sample, compared beyond chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qcompiler.measurement.loss import Outputs, noise_to_signal
from qcompiler.measurement.slices import OutputSlices


@dataclass(frozen=True)
class Look:
    """What one choice loses.

    Attributes:
        loss: Noise-to-signal ratio over all samples.
        each: The same by sample.
    """

    loss: float
    each: tuple[float, ...] = ()


def look(
    reference: Sequence[Outputs], measured: Sequence[Outputs], slices: Sequence[OutputSlices]
) -> Look:
    """Losses over all samples and of each. Arguments as for `noise_to_signal`."""
    each = [
        noise_to_signal([wanted], [got], [part.of(i) for part in slices])
        for i, (wanted, got) in enumerate(zip(reference, measured, strict=True))
    ]
    return Look(noise_to_signal(reference, measured, slices), tuple(each))


@dataclass(frozen=True)
class Margin:
    """When a change counts as better: the rule that keeps a few samples from deciding by chance.

    A change is judged by the logarithms of the losses of every sample, so that no single one
    decides: Student's paired test, one-sided. The loss over all samples must not rise.

    Attributes:
        share: Share of the loss that it has to save on average.
        deviations: How many standard errors the mean gain has to lie above 0 (of many samples).
    """

    share: float = 0.01
    deviations: float = 1.0

    def better(self, found: Look, best: Look) -> bool:
        """Whether `found` is better than `best` beyond what chance does."""
        if not found.loss <= best.loss or not math.isfinite(found.loss):
            return False
        if not math.isfinite(best.loss):
            return True
        gains = [_log(b) - _log(a) for a, b in zip(found.each, best.each, strict=True)]
        count = len(gains)
        mean = sum(gains) / count
        if mean <= -math.log(1 - self.share):
            return False
        if count < 2:
            return False
        error = math.sqrt(sum((gain - mean) ** 2 for gain in gains) / (count - 1) / count)
        # Student's quantile for n - 1 degrees of freedom, within 5 % from three samples on.
        return mean >= self.deviations * (1 + 1.5 / (count - 1)) * error


_SMALLEST = 1e-12
"""Losses below are no better than this one: the rounding of float."""


def _log(loss: float) -> float:
    return math.log(max(loss, _SMALLEST))
