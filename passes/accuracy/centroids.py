"""Centroids of codebooks by the error of what is computed with them.

With the assignment of weights to centroids as it is, the output error sum (w_c - w)^T G (w_c - w)
is quadratic in the centroids c: they solve the normal equations (A^T G A) c = A^T G w, with A the
assignment of a column and G the second moments of its inputs. Assigning each weight to the nearest
centroid and solving take turns, from k-means with the moments' diagonal as weights on (Stock et al.
2020, "And the bit goes down", arXiv 1907.05686, does so for blocks).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.decisions.roundings import Rounding
from qcompiler.passes.accuracy.products import Product
from qcompiler.quantization.nonuniform import table_params
from qcompiler.quantization.numerics import quantize
from qcompiler.quantization.output_error import Matrix
from qcompiler.quantization.qspace import Levels, QParams

Array = npt.NDArray[Any]
_ROUNDS = 5
_MOST_WORK = 2e10
"""Multiplications of one round: inputs^2 * outputs * centroids; above, k-means has to do."""
_RIDGE = 1e-6
"""Share of the mean diagonal that keeps centroids without members where they are."""


def with_tuned_centroids(product: Product, name: str) -> Rounding | None:
    """The rounding with the least output error found, by table; None if that is the one there is.

    Args:
        product: A weight in a codebook.
        name: Who chose, recorded in the rounding.
    """
    old = product.rounding
    if old.params.space.levels is not Levels.CODEBOOK or old.params.levels is None:
        return None
    owners = _owners(product)
    best, least = old.params, _errors(product, old.params, owners)
    params = _weighted(product)
    for _ in range(_ROUNDS):
        errors = _errors(product, params, owners)
        best = _better(best, params, errors < least)
        least = np.minimum(least, errors)
        if _work(product) > _MOST_WORK:
            break
        params = _solved(product, params, owners)
    if best.same_as(old.params):
        return None
    return Rounding(best, quantize(product.exact, best), name)


def _owners(product: Product) -> Array:
    """Number of the table of every column, [groups, N]."""
    params, shape = product.rounding.params, product.exact.shape
    if params.axis is None:
        slots = np.zeros(shape, np.int64)
    else:
        numbers = np.arange(shape[params.axis]) // (params.space.group_size or 1)
        side = [1] * len(shape)
        side[params.axis] = -1
        slots = np.broadcast_to(numbers.reshape(side), shape)
    return product.layout.matrix(slots)[:, 0]


def _weighted(product: Product) -> QParams:
    """K-means that weights the error of every weight by the power of its input."""
    params = product.rounding.params
    power = np.diagonal(product.moments, axis1=1, axis2=2)
    matrix = product.layout.matrix(product.exact)
    importance = product.layout.weight(np.broadcast_to(power[:, :, None], matrix.shape))
    return table_params(product.exact, params.space, params.axis, importance.astype(np.float32))


def _errors(product: Product, params: QParams, owners: Array) -> Matrix:
    """Output error of the columns of every table."""
    errors = product.errors(Rounding(params, quantize(product.exact, params)))
    return np.asarray(np.bincount(owners.ravel(), errors.ravel()), np.float64)


def _better(kept: QParams, other: QParams, taken: Array) -> QParams:
    assert kept.levels is not None
    assert other.levels is not None
    if kept.levels.ndim == 1:
        return other if taken[0] else kept
    return replace(kept, levels=np.where(taken[:, None], other.levels, kept.levels))


def _work(product: Product) -> float:
    levels = product.rounding.params.levels
    assert levels is not None
    return float(product.layout.inputs * product.exact.size * levels.shape[-1])


def _solved(product: Product, params: QParams, owners: Array) -> QParams:
    """Centroids that solve the normal equations for the nearest assignment."""
    assert params.levels is not None
    tables = params.levels.reshape(-1, params.levels.shape[-1]).astype(np.float64)
    labels = product.layout.matrix(quantize(product.exact, params).astype(np.int64))
    exact = product.layout.matrix(product.exact).astype(np.float64)
    count = tables.shape[1]
    left, right = np.zeros((len(tables), count, count)), np.zeros(tables.shape)
    for group, moments in enumerate(product.moments):
        target = moments @ exact[group]
        for column, table in enumerate(owners[group]):
            assigned = np.eye(count)[labels[group, :, column]]
            left[table] += assigned.T @ (moments @ assigned)
            right[table] += assigned.T @ target[:, column]
    kept = _RIDGE * np.trace(left, axis1=1, axis2=2) / count + np.finfo(np.float64).tiny
    left += kept[:, None, None] * np.eye(count)
    right += kept[:, None] * tables
    found = np.linalg.solve(left, right[..., None])[..., 0]
    levels = np.sort(found, axis=1).reshape(params.levels.shape).astype(np.float32)
    return replace(params, levels=levels)
