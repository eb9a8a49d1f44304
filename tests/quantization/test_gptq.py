"""GPTQ: never worse than its start in the norm of the inputs, and near the best that there is."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.errors import ConfigurationError
from qcompiler.quantization.gptq import gptq
from qcompiler.quantization.output_error import column_errors

Array = npt.NDArray[Any]


def case(seed: int, inputs: int, groups: int = 1) -> tuple[Array, Array, Array, Array]:
    """Weight, scale, zero point and correlated second moments of 3 columns a group."""
    draw = np.random.default_rng(seed)
    weight = draw.normal(size=(groups, inputs, 3))
    scale = np.broadcast_to(np.abs(weight).max(axis=1, keepdims=True) / 7, weight.shape)
    rows = draw.normal(size=(groups, 64, 2)) @ draw.normal(size=(groups, 2, inputs))
    rows = rows + 0.2 * draw.normal(size=rows.shape)
    zero = np.zeros(weight.shape, np.int64)
    return weight, scale, zero, rows.transpose(0, 2, 1) @ rows


def nearest(weight: Array, scale: Array, zero: Array) -> Array:
    return np.asarray(np.clip(np.rint(weight / scale) + zero, -8, 7), np.int64)


@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("inputs", [3, 130, 300])  # one block of updates, two, three
def test_no_column_is_worse_than_the_nearest_integers(
    inputs: int, groups: int, act_order: bool
) -> None:
    weight, scale, zero, moments = case(inputs, inputs, groups)
    start = nearest(weight, scale, zero)
    found = gptq(weight, scale, zero, (-8, 7), moments, start, act_order=act_order)
    assert found.min() >= -8
    assert found.max() <= 7
    before = column_errors(start * scale - weight, moments)
    after = column_errors(found * scale - weight, moments)
    assert np.all(after <= before)
    if inputs > 3:
        assert after.sum() < 0.3 * before.sum()  # correlated inputs leave much to make up


def test_it_comes_near_the_best_integers_there_are() -> None:
    """All 3^6 choices around the weights, column by column."""
    weight, scale, zero, moments = case(5, 6)
    start = nearest(weight, scale, zero)
    found = gptq(weight, scale, zero, (-8, 7), moments, start)
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=6))).T  # [6, choices]
    for column in range(3):
        tried = np.clip(start[0, :, column, None] + steps, -8, 7)
        gap = tried * scale[0, :, column, None] - weight[0, :, column, None]
        best = column_errors(gap[None], moments).min()
        own = column_errors(found * scale - weight, moments)[0, column]
        near = column_errors(start * scale - weight, moments)[0, column]
        assert best - 1e-9 <= own
        assert own - best < 0.5 * (near - best) + 1e-9


def test_independent_inputs_leave_nothing_to_make_up() -> None:
    weight, scale, zero, _ = case(1, 20)
    moments = np.eye(20)[None] * np.arange(1, 21)
    start = nearest(weight, scale, zero)
    np.testing.assert_array_equal(gptq(weight, scale, zero, (-8, 7), moments, start), start)


def test_dead_inputs_keep_their_integers() -> None:
    weight, scale, zero, moments = case(2, 10)
    moments[:, 4], moments[:, :, 4] = 0, 0
    start = nearest(weight, scale, zero)
    found = gptq(weight, scale, zero, (-8, 7), moments, start)
    np.testing.assert_array_equal(found[:, 4], start[:, 4])
    assert not np.array_equal(found, start)
    zeros = np.zeros_like(moments)
    np.testing.assert_array_equal(gptq(weight, scale, zero, (-8, 7), zeros, start), start)


def test_zero_points_shift_integers_only() -> None:
    weight, scale, zero, moments = case(3, 12)
    plain = gptq(weight, scale, zero, (-8, 7), moments, nearest(weight, scale, zero))
    shifted = gptq(weight, scale, zero + 8, (0, 15), moments, nearest(weight, scale, zero) + 8)
    np.testing.assert_array_equal(shifted, plain + 8)


def test_moments_of_low_rank_need_damping() -> None:
    weight, scale, zero, _ = case(4, 5)
    row = np.ones((1, 5))
    moments = (row.T @ row)[None]
    start = nearest(weight, scale, zero)
    with pytest.raises(ConfigurationError, match="full rank"):
        gptq(weight, scale, zero, (-8, 7), moments, start, damping=0.0)
    gptq(weight, scale, zero, (-8, 7), moments, start)
