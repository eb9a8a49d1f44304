"""The one estimator of times: what a run takes when nothing else does, and how sure a ratio is.

Other work on the machine only ever adds time, by factors up to four, in spells that last longer
than a run. So what a run takes is a low quantile of many short samples, not their middle: that is
the neighbours'. A low quantile is all but an extreme, where the ordinary bootstrap is too sure;
here half as many rounds are drawn (m out of n: Bickel, Götze and van Zwet, Statistica Sinica 7,
1997), in blocks of rounds that follow one another, since spells last (Künsch, Annals of Statistics
17, 1989).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]
"""Seconds, [rounds, parts]: the quickest run of each part (of the feeds, say) in every round."""

CONFIDENCE = 0.95
QUANTILE = 0.05
_RESAMPLES = 200
_BLOCKS = 10
"""A block is this part of the rounds."""
_LEAST = 3
"""Rounds of a resample, if there are as many."""


@dataclass(frozen=True)
class Ratio:
    """Time of one thing relative to that of another.

    Attributes:
        value: Of the typical times.
        low: Lower end of the interval that holds it with `CONFIDENCE`.
        high: Upper end.
        chance: Share of the resamples in which it is at most 1: how sure "not slower" is.
    """

    value: float
    low: float
    high: float
    chance: float


def typical(times: Times) -> float:
    """Seconds of all parts together when nothing else runs."""
    return float(np.quantile(times, QUANTILE, axis=0).sum())


def ratio(times: Times, reference: Times, confidence: float = CONFIDENCE) -> Ratio:
    """Ratio of two things that were timed in the same rounds; 1 by a clock that stood still.

    The seed is fixed: the same times give the same interval.
    """
    own, other = typical(times), typical(reference)
    value = own / other if other > 0 else 1.0
    draws = _draws(len(times))
    ones, others = (
        np.quantile(each[draws], QUANTILE, axis=1).sum(axis=-1) for each in (times, reference)
    )
    ratios = np.divide(ones, others, out=np.ones_like(ones), where=others > 0)
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    chance = float(np.mean(ratios <= 1.0))
    return Ratio(value, min(float(low), value), max(float(high), value), chance)


def columns(samples: Sequence[Sequence[float]] | Sequence[float]) -> Times:
    """Samples by round as `Times`; plain numbers are one part."""
    found = np.asarray(samples, np.float64)
    return found[:, None] if found.ndim == 1 else found


def _draws(rounds: int) -> npt.NDArray[np.int64]:
    """Indices of the rounds of every resample: half of them, in blocks."""
    count = min(rounds, max(_LEAST, rounds // 2))
    block = max(1, rounds // _BLOCKS)
    starts = np.random.default_rng(0).integers(0, rounds, (_RESAMPLES, -(-count // block)))
    taken = (starts[:, :, None] + np.arange(block)) % rounds
    return taken.reshape(_RESAMPLES, -1)[:, :count]
