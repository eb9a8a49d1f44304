"""Scales fitted to integers that are chosen: least squares of what is computed with them.

A weight is seen as [groups, K, N], its blocks as runs of inputs with a scale of their own. For
given integers the output is linear in the scales, so those with the least summed square error of
the output follow from one small system for each column; clipping then shrinks no output.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.quantization.output_error import Matrix

Array = npt.NDArray[Any]


def scale_factors(
    held: Array, exact: Array, moments: Matrix, size: int, owners: Array, ridge: float
) -> Matrix:
    """What each scale has to be multiplied by for the least output error; 1 where nothing shows it.

    Minimizes (w - sum_b r_b v_b)^T G (w - sum_b r_b v_b) + ridge * sum_b v_b^T G v_b (r_b - 1)^2
    over the factors r, v_b what a block holds now.

    Args:
        held: [groups, K, N], what the integers stand for now.
        exact: The same of the weight.
        moments: float64 [groups, K, K], second moments of the inputs.
        size: Inputs of a block; K where a scale is a column's, or several columns'.
        owners: [groups, blocks, N], index into the flat scales.
        ridge: Pull towards 1, for moments of few rows.

    Returns:
        float64, one factor for each flat scale.
    """
    now, wanted = np.asarray(held, np.float64), np.asarray(exact, np.float64)
    starts = np.arange(0, now.shape[1], size)
    gram = np.empty((now.shape[0], len(starts), len(starts), now.shape[2]))
    for column, start in enumerate(starts):
        block = slice(start, start + size)
        spread = np.matmul(moments[:, :, block], now[:, block])
        gram[:, :, column] = np.add.reduceat(now * spread, starts, axis=1)
    aimed = np.add.reduceat(now * np.matmul(moments, wanted), starts, axis=1)
    count = int(owners.max()) + 1
    if len(starts) == 1:
        return _shared(gram[:, 0, 0], aimed[:, 0], owners[:, 0], count, ridge)
    return _apart(gram, aimed, owners, count, ridge)


def _shared(power: Matrix, aimed: Matrix, owners: Array, count: int, ridge: float) -> Matrix:
    """One scale for whole columns: sums over those that it serves."""
    below = np.bincount(owners.ravel(), power.ravel(), count)
    above = np.bincount(owners.ravel(), aimed.ravel(), count)
    seen = below > 0
    return np.where(seen, (above + ridge * below) / np.where(seen, (1 + ridge) * below, 1), 1.0)


def _apart(gram: Matrix, aimed: Matrix, owners: Array, count: int, ridge: float) -> Matrix:
    """Several scales a column, each of that column alone: a system for each column."""
    systems, wanted = gram.transpose(0, 3, 1, 2).copy(), aimed.transpose(0, 2, 1).copy()
    index = np.arange(systems.shape[-1])
    power = systems[..., index, index]
    wanted += ridge * power
    # A tiny share more, or equal blocks of one column leave the system singular.
    systems[..., index, index] += (ridge + 1e-9) * power
    dead = power <= 0
    systems[..., index, index] += dead
    wanted += dead
    found = np.ones(count)
    found[owners.transpose(0, 2, 1)] = np.linalg.solve(systems, wanted[..., None])[..., 0]
    return found
