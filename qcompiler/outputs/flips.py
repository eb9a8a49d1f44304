"""Which share of decisions flips at which noise: predicted, its bound, and counted.

A decision of margin m flips under Gaussian noise of deviation s with probability Phi(-m / s). What
that costs is the mean of the probabilities times the costs of single flips.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qcompiler.outputs.decisions import Array, Decisions, gathered
from qcompiler.outputs.noise import LogitNoise

_CHANCE = 0.05
"""Probability with which a candidate that is just good enough may be rejected by chance."""
_STEPS = 20
_FAR = 9.0
"""Margins of as many deviations do not flip: a chance of 1e-19 is nothing of a billion."""


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


def prediction(decisions: Decisions, noise: LogitNoise, most: float) -> Callable[[float], Flips]:
    """Flips as a function of the noise-to-signal ratio, up to a largest one.

    Decisions that flip at none of them are left out, and very many are gathered by their margins:
    a bound asks for twenty ratios, and an image of scores has a million decisions.

    One decision more than were seen is added, with a margin anywhere below the closest: of n
    decisions none of which is close, the next may be.
    """
    if not decisions.counted or most <= 0:
        return lambda ratio: Flips(0.0, 0.0, 0.0)
    far = _FAR * math.sqrt(most / noise.ratio)
    if noise.deviations.size == 1:
        margins, powers = decisions.gathered
        near = margins < far * noise.deviations[0]
        steps, powers = margins[near] / noise.deviations[0], tuple(each[near] for each in powers)
    else:
        steps = decisions.margins / noise.deviations
        near = steps < far
        steps, powers = gathered(steps[near], decisions.costs[near])
    usual = float(np.median(noise.deviations))
    unseen = _unseen(decisions)

    def flips(ratio: float) -> Flips:
        if ratio <= 0:
            return Flips(0.0, 0.0, 0.0)
        scale = math.sqrt(ratio / noise.ratio)
        chances = _normal(steps / -scale)
        total = [
            float(chances @ p) + more for p, more in zip(powers, unseen(usual * scale), strict=True)
        ]
        return Flips(*(min(each / decisions.counted, 1.0) for each in total))

    return flips


def _normal(deviations: Array) -> Array:
    """The distribution function Phi."""
    from scipy.special import ndtr  # 17 MB, which programs without decisions do not need

    return np.asarray(ndtr(deviations))


def _unseen(decisions: Decisions) -> Callable[[float], tuple[float, float, float]]:
    """By deviation: chance and costs of a decision with a margin anywhere below the smallest."""
    if not decisions.margins.size:
        return lambda deviation: (0.0, 0.0, 0.0)
    closest = int(decisions.margins.argmin())
    margin, cost = float(decisions.margins[closest]), float(decisions.costs[closest])
    at = (np.arange(16) + 0.5) / 16
    falling = cost * at if decisions.costs.min() < 1 else np.full(16, cost)

    def flips(deviation: float) -> tuple[float, float, float]:
        chances = _normal(-at * margin / deviation)
        return (
            float(chances.mean()),
            float((chances * falling).mean()),
            float((chances * falling**2).mean()),
        )

    return flips


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
    from scipy.special import gammainc

    at_least = max(counted / size, 1e-9)
    return float(gammainc(at_least, allowed / size)) < _CHANCE
