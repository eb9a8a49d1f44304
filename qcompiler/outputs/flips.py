"""Which share of decisions flips at which noise: predicted, its bound, and counted.

A decision of margin m flips under Gaussian noise of deviation s with probability Phi(-m / s). What
that costs is the mean of the probabilities times the costs of single flips.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammainc, ndtr

from qcompiler.outputs.decisions import Decisions
from qcompiler.outputs.noise import LogitNoise

_CHANCE = 0.05
"""Probability with which a candidate that is just good enough may be rejected by chance."""
_STEPS = 20


@dataclass(frozen=True)
class Flips:
    """How decisions flip, predicted or counted.

    Attributes:
        share: Of the decisions that count.
        cost: What it costs, as a share of accuracy.
        square: The mean of squared costs, which says how much chance there is in it.
    """

    share: float
    cost: float
    square: float


def predicted(decisions: Decisions, noise: LogitNoise, ratio: float) -> Flips:
    """Flips at a noise-to-signal ratio.

    One decision more than were seen is added, with a margin anywhere below the closest: of n
    decisions none of which is close, the next may be.
    """
    if not decisions.counted or ratio <= 0:
        return Flips(0.0, 0.0, 0.0)
    deviations = noise.at(ratio)
    chances = ndtr(-decisions.margins / deviations)
    unseen = _unseen(decisions, float(np.median(deviations)))
    total = [float((chances * np.power(decisions.costs, p)).sum()) + unseen[p] for p in range(3)]
    share, cost, square = (min(each / decisions.counted, 1.0) for each in total)
    return Flips(share, cost, square)


def _unseen(decisions: Decisions, deviation: float) -> tuple[float, float, float]:
    """Chance and costs of a decision whose margin is uniform below the smallest one."""
    if not decisions.margins.size:
        return 0.0, 0.0, 0.0
    closest = int(decisions.margins.argmin())
    margin, cost = float(decisions.margins[closest]), float(decisions.costs[closest])
    at = (np.arange(16) + 0.5) / 16
    chances = ndtr(-at * margin / deviation)
    falling = cost * at if decisions.costs.min() < 1 else np.full(16, cost)
    return (
        float(chances.mean()),
        float((chances * falling).mean()),
        float((chances * falling**2).mean()),
    )


def largest_ratio(within: Callable[[float], bool], low: float, high: float) -> float:
    """The largest noise-to-signal ratio in low..high that is within; `low` if none is."""
    if within(high):
        return high
    if not within(low):
        return low
    a, b = math.log(low), math.log(high)  # a ratio is found by its decades
    for _ in range(_STEPS):
        middle = (a + b) / 2
        a, b = (middle, b) if within(math.exp(middle)) else (a, middle)
    return math.exp(a)


def more_than_chance(counted: float, allowed: float, size: float) -> bool:
    """Whether costs of flips add up to more than is allowed, and than chance explains.

    A sum of costs is near to a Poisson number times their usual size (Bohm & Zech, Statistics of
    weighted Poisson events and its applications, 2014); exact for flips that cost 1.

    Args:
        counted: Sum of the costs of all flips.
        allowed: The sum that is allowed.
        size: Usual cost of one flip: mean square over mean.
    """
    if counted <= allowed or size <= 0:
        return counted > allowed
    at_least = max(counted / size, 1e-9)
    return float(gammainc(at_least, allowed / size)) < _CHANCE
