"""Decisions read off an output: how close each one is, and what it costs to have it flipped.

A decision of classes is the argmax of a row of scores; its margin is the difference of the two
highest logits. A yes-or-no score is compared with a threshold; its margin is the distance in
logits. Thresholds are the user's and unknown, so three of them are taken, and the worst counts.

A flip costs what the network itself thinks it costs: with p the probability of the winner and q
that of the runner-up, the expected accuracy falls by p - q, next to nothing where both are likely
alike. Of a threshold t it is |p - t| / max(t, 1 - t).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.outputs.ctc import Frames, changes_text
from qcompiler.outputs.evidence import rows_of
from qcompiler.outputs.kinds import OutputKind, Purpose, Scale

Array = npt.NDArray[Any]

THRESHOLDS = (0.3, 0.5, 0.7)
_LEAST = 6e-6
"""Probabilities below this part of the highest are read as this part: 12 in logits, further than
noise moves anything, while 8-bit probabilities of 0 would be infinitely far."""
_CHUNK = 65536
_FEW = 65536
"""More decisions than these are gathered in bins."""
_MANTISSA = 13
"""Bits of a float32 that bins leave out: ten of the mantissa stay."""
_MOST = 8_000_000


@dataclass(frozen=True, eq=False)
class Decisions:
    """All decisions of the samples, one threshold or one rank.

    Attributes:
        margins: float64 [n], in logits, not negative; inf where a flip changes nothing.
        costs: float64 [n], what a flip costs, in 0..1.
        sides: int64 [n], what was decided.
        counted: Of how many decisions a share is: see `effective`.
    """

    margins: Array
    costs: Array
    sides: Array
    counted: float

    @cached_property
    def gathered(self) -> tuple[Array, Powers]:
        """`gathered` of all of them."""
        return gathered(self.margins, self.costs)


Powers = tuple[Array, ...]
"""How many decisions there are at a margin, the sum of their costs, and of the squares of these."""


def gathered(margins: Array, costs: Array) -> tuple[Array, Powers]:
    """Decisions by margin, very many in bins: an image of scores has a million.

    Bins are a thousandth of their margin wide and stand for the mean of what is in them, so that
    chances of flips are right to 1e-5 (the second derivative of Phi, at nine deviations).
    """
    if margins.size <= _FEW:
        return margins, (np.ones(margins.size), costs, np.square(costs))
    index = margins.astype(np.float32).view(np.int32) >> _MANTISSA
    index -= index.min()
    counts, sums, first, second = (
        np.bincount(index, each) for each in (None, margins, costs, np.square(costs))
    )
    some = counts > 0
    return sums[some] / counts[some], (counts[some], first[some], second[some])


def logits_of(kind: OutputKind, samples: Sequence[Array]) -> Array:
    """float64 [rows, classes], or [rows, 1] of yes-or-no scores; up to a constant of each row.

    Of more than eight million numbers some samples, or every n-th row, the same ones for equal
    shapes.
    """
    samples = looked_at(samples)
    step = max(1, math.ceil(sum(each.size for each in samples) / _MOST))
    if kind.purpose is Purpose.YES_NO:
        flat = np.concatenate([each.ravel()[::step].astype(np.float64) for each in samples])[
            :, None
        ]
        if kind.scale is Scale.LOGITS:
            return np.asarray(flat)
        inside = np.clip(flat, _LEAST, 1 - _LEAST)
        return np.asarray(np.log(inside) - np.log1p(-inside))
    rows = rows_of(samples, kind.axis, step)
    if kind.scale is Scale.PROBABILITIES:
        least = _LEAST * np.max(rows, axis=1, keepdims=True, initial=1e-30)
        return np.asarray(np.log(np.maximum(rows, least)))
    return rows


def looked_at(samples: Sequence[Array]) -> Sequence[Array]:
    """The samples whose decisions are looked at: all, or evenly spread ones of large outputs."""
    total = sum(each.size for each in samples)
    return samples[:: min(max(1, math.ceil(total / _MOST)), max(len(samples), 1))]


def class_decisions(
    logits: Array, rank: int = 1, weighed: bool = True, frames: Frames | None = None
) -> Decisions:
    """Argmax decisions of rows, or whether the winner stays among the `rank` highest.

    Args:
        logits: float64 [rows, classes].
        rank: 1, or 5 for top-5.
        weighed: Whether a flip costs the difference of probabilities; otherwise 1.
        frames: Where rows are frames of a text: only flips that change it are decisions, and the
            symbols are what counts.
    """
    rank = min(rank, logits.shape[1] - 1)
    order = np.argpartition(-logits, rank, axis=1)[:, : rank + 1]
    high = np.sort(np.take_along_axis(logits, order, 1), axis=1)[:, ::-1]
    margins = high[:, 0] - high[:, rank]
    winners = logits.argmax(1)
    costs = _confidence_gaps(logits, high[:, 0], margins) if weighed else np.ones(len(margins))
    if frames is None:
        return Decisions(margins, costs, winners, _counted(winners, weighed))
    others = order[np.arange(len(order)), (order == winners[:, None]).argmin(1)]
    matters = changes_text(winners, others, frames)
    symbols = float(sum(each.size for each in frames.texts(winners)))
    margins, costs = np.where(matters, margins, np.inf), np.where(matters, costs, 0.0)
    return Decisions(margins, costs, winners, symbols)


def threshold_decisions(
    logits: Array, threshold: float, weighed: bool = True, scores: Array | None = None
) -> Decisions:
    """Yes-or-no decisions at a probability. Arguments as for `class_decisions`.

    `scores` are the sigmoids of the logits, where they are known.
    """
    flat = logits.ravel()
    margins = np.abs(flat - math.log(threshold / (1 - threshold)))
    sides = (flat > math.log(threshold / (1 - threshold))).astype(np.int64)
    if not weighed:
        return Decisions(margins, np.ones(flat.size), sides, _counted(sides, weighed))
    scores = sigmoids(flat) if scores is None else scores
    costs = np.abs(scores - threshold) / max(threshold, 1 - threshold)
    return Decisions(margins, costs, sides, _counted(sides, weighed))


def sigmoids(logits: Array) -> Array:
    """float64 [n] of all scores."""
    return np.asarray(1 / (1 + np.exp(-logits.ravel())))


def _counted(sides: Array, weighed: bool) -> float:
    """Of how many a share is; a share that the user speaks of is one of all."""
    return effective(sides) if weighed else float(sides.size)


def effective(sides: Array) -> float:
    """How many decisions count: all, or twice the rare ones where one class is the rule.

    A page is mostly background and a line of text mostly blanks; what matters is the rest, and
    errors are counted against it.
    """
    if not sides.size:
        return 0.0
    commonest = int(np.bincount(sides).max())
    return float(min(sides.size, 2 * (sides.size - commonest)))


def _confidence_gaps(logits: Array, highest: Array, margins: Array) -> Array:
    """p - q of every row: the softmax of the winner less that of the runner-up."""
    total = np.concatenate(
        [
            np.exp(logits[i : i + _CHUNK] - highest[i : i + _CHUNK, None]).sum(1)
            for i in range(0, len(logits), _CHUNK)
        ]
    )
    return np.asarray((1 - np.exp(-margins)) / total)
