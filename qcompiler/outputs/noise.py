"""Noise of scores in logits, as a function of the noise-to-signal ratio of the output.

Before anything was built, noise is taken to be Gaussian, independent and of one size: with logits y
of an output, a ratio r means a standard deviation of sqrt(r mean(y^2)). Noise of probabilities
goes to logits through the Jacobian of the softmax, J = diag(p) - p p^T: noise of variance s^2 in
the logits has the power s^2 |J|^2 in the probabilities, |J|^2 = sum p^2 - 2 sum p^3 + (sum p^2)^2.
Of a sigmoid, J = p (1 - p).

Once a candidate has run, its own noise tells more: how large it is in each row, and between the two
highest classes. Noise of other candidates is taken to have that shape, and the size that their
ratio says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.outputs.decisions import logits_of
from qcompiler.outputs.kinds import OutputKind, Purpose, Scale

Array = npt.NDArray[Any]

_PRIOR = 4
"""Degrees of freedom that the variance of all rows has against that of one (Smyth 2004, Linear
models and empirical Bayes methods, eq. 4, with its usual order of prior weight)."""
_NEAR, _ENOUGH = 5.0, 32
"""Decisions with smaller margins tell the noise of those that may flip, if there are enough: those
that are certain have larger logits, and larger noise."""
_CLOSE = 2.2
"""The same of scores of yes or no: between 0.1 and 0.9, about the thresholds (0.3 to 0.7)."""
_RIVALS = 8
"""Classes of a row that may win: the highest of float and of the candidate."""


@dataclass(frozen=True, eq=False)
class SeenNoise:
    """The classes of every row that may win, with their logits and a candidate's noise on them.

    Attributes:
        classes: int [n, k].
        logits: float64 [n, k], of float.
        errors: float64 [n, k], what the candidate added.
        totals: float64 [n], the sum of exp(logit - highest) over all classes.
    """

    classes: Array
    logits: Array
    errors: Array
    totals: Array

    def gaps(self, rows: Array, chosen: Array) -> Array:
        """Probability of float's winner less that of the chosen class, in these rows."""
        own = np.where(self.classes[rows] == chosen[:, None], self.logits[rows], -np.inf).max(1)
        return np.asarray((1 - np.exp(own - self.logits[rows].max(1))) / self.totals[rows])

    def winners(self, scale: float) -> Array:
        """int [n]: the classes that win with the noise times `scale`."""
        best = (self.logits + scale * self.errors).argmax(1)
        return np.asarray(np.take_along_axis(self.classes, best[:, None], 1)[:, 0])


@dataclass(frozen=True, eq=False)
class LogitNoise:
    """Standard deviation of the noise that moves a decision.

    Attributes:
        deviations: float64 [n] or [1]: of the difference of two logits for classes, of one logit
            for yes-or-no scores.
        ratio: The noise-to-signal ratio of the output that this belongs to.
        logit_ratio: The same noise relative to centred logits.
        seen: The candidate's noise itself, where single decisions are no measure; see `SeenNoise`.
    """

    deviations: Array
    ratio: float
    logit_ratio: float
    seen: SeenNoise | None = None

    def at(self, ratio: float) -> Array:
        """Deviations at another ratio."""
        return np.asarray(self.deviations * np.sqrt(ratio / self.ratio))

    def ratio_of(self, logit_ratio: float) -> float:
        """The ratio of the output at which logits have this one."""
        return self.ratio * logit_ratio / self.logit_ratio


def assumed(kind: OutputKind, samples: Sequence[Array], logits: Array) -> LogitNoise | None:
    """Independent noise of one size; None where outputs hold no signal."""
    raw = np.concatenate([each.astype(np.float64).ravel() for each in samples])
    power, gain = float(np.square(raw).sum()), float(raw.size)
    if kind.scale is Scale.PROBABILITIES:
        gain = _gain(kind, logits)
    signal = _power(_centred(logits))
    if not (power > 0 and gain > 0 and signal > 0):
        return None
    variance = power / gain  # of one logit, at the ratio 1
    both = 1 if kind.purpose is Purpose.YES_NO else 2
    return LogitNoise(np.sqrt([both * variance]), 1.0, variance / signal)


def measured(logits: Array, noisy: Array, ratio: float) -> LogitNoise | None:
    """The noise that a candidate showed at `ratio`; None where there was none.

    Args:
        logits: float64 [rows, classes] of float.
        noisy: The same of the candidate.
        ratio: Its noise-to-signal ratio in the output.
    """
    if logits.shape[1] == 1:
        near = _close(logits)
        logits, noisy = logits[near][:, None], noisy[near][:, None]
    error = _centred(noisy - logits)
    signal, power = _power(_centred(logits)), _power(error)
    if not (0 < power < np.inf and signal > 0 and ratio > 0):
        return None
    if logits.shape[1] == 1:
        return LogitNoise(np.sqrt([power]), ratio, power / signal)
    free = logits.shape[1] - 1
    rows = np.square(error).sum(1) / free
    moderated = (free * rows + _PRIOR * rows.mean()) / (free + _PRIOR)
    first, second = _two_highest(logits)
    index = np.arange(len(error))
    gaps = error[index, first] - error[index, second]
    near = logits[index, first] - logits[index, second] < _NEAR
    near = near if near.sum() >= _ENOUGH else np.ones(len(near), bool)
    closeness = np.square(gaps[near]).sum() / (2 * moderated[near].sum())
    return LogitNoise(
        np.sqrt(2 * closeness * moderated), ratio, power / signal, seen_noise(logits, noisy)
    )


def _close(logits: Array) -> Array:
    """The scores whose noise moves decisions: around the thresholds, as near as there are enough.

    A score of 0.01 that is rounded to 0 is moved by any number of logits, and decides nothing.
    """
    size = np.abs(logits)
    found = (size < bar for bar in (_CLOSE, _NEAR) if (size < bar).sum() >= _ENOUGH)
    return np.asarray(next(found, np.ones(size.shape, bool)))


def seen_noise(logits: Array, noisy: Array) -> SeenNoise:
    """The noise of `noisy` on the classes that may win; both float64 [rows, classes]."""
    count = min(_RIVALS, logits.shape[1])
    both = [np.argpartition(-each, count - 1, axis=1)[:, :count] for each in (logits, noisy)]
    classes = np.concatenate(both, axis=1)
    own, other = (np.take_along_axis(each, classes, 1) for each in (logits, noisy))
    totals = np.exp(logits - logits.max(1, keepdims=True)).sum(1)
    return SeenNoise(classes, own, other - own, totals)


def noise_of(
    kind: OutputKind, logits: Array, outputs: Sequence[Array], ratio: float
) -> LogitNoise | None:
    """`measured` from a candidate's outputs."""
    with np.errstate(invalid="ignore"):
        noisy = logits_of(kind, outputs)
    return measured(logits, noisy, ratio) if noisy.shape == logits.shape else None


def _gain(kind: OutputKind, logits: Array) -> float:
    """Sum over rows of |J|^2: the power in probabilities of unit noise in every logit."""
    if kind.purpose is Purpose.YES_NO:
        p = 1 / (1 + np.exp(-logits))
        return float(np.square(p * (1 - p)).sum())
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    squares = np.square(p).sum(1)
    return float((squares - 2 * np.power(p, 3).sum(1) + np.square(squares)).sum())


def _centred(logits: Array) -> Array:
    """Without what all classes of a row share, which decides nothing."""
    return logits if logits.shape[1] == 1 else logits - logits.mean(1, keepdims=True)


def _power(rows: Array) -> float:
    return float(np.square(rows).mean()) if rows.size else 0.0


def _two_highest(logits: Array) -> tuple[Array, Array]:
    pair = np.argpartition(-logits, 1, axis=1)[:, :2]
    values = np.take_along_axis(logits, pair, 1)
    swap = values[:, 0] < values[:, 1]
    first = np.where(swap, pair[:, 1], pair[:, 0])
    return first, np.where(swap, pair[:, 0], pair[:, 1])
