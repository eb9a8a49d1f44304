"""Latency of two ways to do the same thing, measured so that a busy machine does not decide."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Median seconds of one call of each side, and how many times faster the second side is."""

    first: float
    second: float
    ratio: float


def seconds_of(call: Callable[[], object], calls: int) -> float:
    """Mean seconds of one call, over `calls` calls in a row."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def compare(
    first: Callable[[], object], second: Callable[[], object], *, rounds: int = 60, calls: int = 5
) -> Comparison:
    """Time two callables in turns, swapping who goes first.

    The ratio is the median over the rounds of (seconds of first / seconds of second): both sides of
    a round see the same clock speed and the same neighbours, so drift cancels.

    Args:
        first: The baseline.
        second: What is compared with it.
        rounds: Pairs of measurements.
        calls: Calls per measurement.

    Raises:
        ValueError: `rounds` or `calls` below 1.
    """
    if rounds < 1 or calls < 1:
        raise ValueError(f"rounds and calls must be at least 1, not {rounds} and {calls}")
    for warm_up in (first, second):
        seconds_of(warm_up, calls)
    ones, twos = [], []
    for turn in range(rounds):
        if turn % 2:
            twos.append(seconds_of(second, calls))
            ones.append(seconds_of(first, calls))
        else:
            ones.append(seconds_of(first, calls))
            twos.append(seconds_of(second, calls))
    ratio = statistics.median(one / two for one, two in zip(ones, twos, strict=True))
    return Comparison(statistics.median(ones), statistics.median(twos), ratio)
