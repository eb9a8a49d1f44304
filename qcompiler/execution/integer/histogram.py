"""Histograms of distances: how many elements lie how many steps from what is expected."""

from __future__ import annotations

import numpy as np

from qcompiler.execution.integer.operand import Array

FAR = 1 << 31
"""What an infinite distance counts as, or one that is no number."""


def by_steps(apart: Array, step: Array | float) -> dict[int, int]:
    """Elements by distance in steps, rounded up.

    Args:
        apart: Distances, float64; negative ones count as 0.
        step: Size of a step, broadcastable.
    """
    steps = np.nan_to_num(np.maximum(apart, 0.0) / step, nan=FAR, posinf=FAR)
    whole = np.ceil(np.minimum(steps, FAR)).astype(np.int64)
    values, counts = np.unique(whole, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
