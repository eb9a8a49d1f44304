"""Noise-to-signal ratio against sums written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qcompiler.search.loss import Judge, noise_to_signal, sqnr_db


def test_the_ratio_is_noise_over_signal_over_all_samples() -> None:
    wanted = [[np.asarray([3.0, 4.0])], [np.asarray([0.0, 5.0])]]
    found = [[np.asarray([3.0, 3.0])], [np.asarray([2.0, 5.0])]]
    assert noise_to_signal(wanted, found) == pytest.approx((1 + 4) / (25 + 25))


def test_float_outputs_are_averaged_and_integers_left_out() -> None:
    wanted = [[np.asarray([2.0]), np.asarray([1.0]), np.asarray([7])]]
    found = [[np.asarray([1.0]), np.asarray([1.0]), np.asarray([9])]]
    assert noise_to_signal(wanted, found) == pytest.approx((0.25 + 0.0) / 2)


@pytest.mark.parametrize(
    "found", [np.asarray([1.0, np.nan]), np.asarray([1.0]), np.asarray([1.0, np.inf])]
)
def test_shapes_and_non_finite_values_that_differ_are_a_total_loss(found: np.ndarray) -> None:
    assert noise_to_signal([[np.asarray([1.0, 2.0])]], [[found]]) == math.inf


def test_decibels() -> None:
    assert sqnr_db(0.01) == pytest.approx(20.0)
    assert sqnr_db(0.0) == math.inf


def test_a_judge_runs_float_once() -> None:
    calls = 0

    def run(feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        nonlocal calls
        calls += 1
        return [2.0 * feed["x"]]

    judge = Judge([{"x": np.asarray([1.0])}, {"x": np.asarray([3.0])}], run)
    assert judge.loss(lambda feed: [2.0 * feed["x"]]) == 0.0
    assert judge.loss(lambda feed: [2.2 * feed["x"]]) == pytest.approx(0.01)
    assert calls == 2
