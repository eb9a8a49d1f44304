"""Weights by the error of what they compute: d^T G d, and the scales that make it least.

A weight is seen as [groups, K, N]: output column n of a group is the sum over K inputs. G, float64
[groups, K, K], are the second moments of those inputs, so d^T G d is the summed square error of an
output whose weights are off by d (Nagel et al. 2020, Up or Down?, equation 20).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Matrix = npt.NDArray[np.float64]


def column_errors(gap: Array, moments: Matrix) -> Matrix:
    """float64 [groups, N]: d^T G d of every column.

    Args:
        gap: [groups, K, N], what the weights are off by.
        moments: float64 [groups, K, K].
    """
    exact = np.asarray(gap, np.float64)
    found: Matrix = np.einsum("gkn,gkn->gn", exact, np.matmul(moments, exact))
    return np.maximum(found, 0.0)


def block_errors(gap: Array, moments: Matrix, size: int) -> Matrix:
    """float64 [groups, blocks, N]: the same of every block of `size` inputs by itself."""
    inputs = gap.shape[1]
    starts = range(0, inputs, size)
    parts = [
        column_errors(gap[:, i : i + size], moments[:, i : i + size, i : i + size]) for i in starts
    ]
    return np.stack(parts, axis=1)


def searched_factors(
    error_of: Callable[[float], Matrix], factors: Array, least: Array | float = 0.0
) -> Matrix:
    """The factor with the least error, elementwise; 1 where no other is better.

    Args:
        error_of: Errors with all scales times a factor, any shape.
        factors: What is tried besides 1.
        least: Smallest factor allowed, broadcast against the errors.
    """
    best_error = error_of(1.0)
    best = np.ones_like(best_error)
    for factor in factors:
        error = error_of(float(factor))
        better = (error < best_error) & (factor >= least)
        best = np.where(better, factor, best)
        best_error = np.where(better, error, best_error)
    return best
