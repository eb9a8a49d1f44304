"""Loss against sums and shares written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qcompiler.measurement.judge import Judge
from qcompiler.measurement.loss import (
    agreement_loss,
    noise_to_signal,
    output_losses,
    sqnr_db,
)
from qcompiler.measurement.slices import OutputSlices, slices_by_data


def test_the_ratio_is_noise_over_signal_over_all_samples() -> None:
    wanted = [[np.asarray([3.0, 4.0])], [np.asarray([0.0, 5.0])]]
    found = [[np.asarray([3.0, 3.0])], [np.asarray([2.0, 5.0])]]
    assert noise_to_signal(wanted, found) == pytest.approx((1 + 4) / (25 + 25))


def test_the_worst_output_decides() -> None:
    wanted = [[np.asarray([2.0]), np.asarray([1.0])]]
    found = [[np.asarray([1.0]), np.asarray([1.0])]]
    assert output_losses(wanted, found) == [pytest.approx(0.25), 0.0]
    assert noise_to_signal(wanted, found) == pytest.approx(0.25)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_])
def test_labels_are_judged_by_agreement(dtype: type) -> None:
    wanted: np.ndarray = np.arange(100).astype(dtype)
    found = wanted.copy()
    assert noise_to_signal([[wanted]], [[found]]) == 0.0
    found[2] = 0 if found[2] else 1
    assert noise_to_signal([[wanted]], [[found]]) == pytest.approx(math.tan(math.pi / 100) ** 2)


def test_agreement_is_the_share_of_signs_that_noise_of_this_ratio_changes(
    rng: np.random.Generator,
) -> None:
    """Monte Carlo: 400 000 signs, so the share is right to 0.0003 (one sigma)."""
    signal, noise = rng.normal(size=(2, 400_000))
    for ratio in (0.0075, 0.1):
        share = float(np.mean(np.sign(signal) != np.sign(signal + math.sqrt(ratio) * noise)))
        assert agreement_loss(share) == pytest.approx(ratio, rel=0.06)
    assert agreement_loss(0.5) == math.inf


def test_a_zero_point_is_no_signal() -> None:
    """Integers that are numbers are counted from their mean."""
    numbers = OutputSlices((False,), (None,))
    wanted, found = np.asarray([127, 129, 127, 129]), np.asarray([128, 128, 128, 128])
    assert noise_to_signal([[wanted]], [[found]], [numbers]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "found", [np.asarray([1.0, np.nan]), np.asarray([1.0]), np.asarray([1.0, np.inf])]
)
def test_shapes_and_non_finite_values_that_differ_are_a_total_loss(found: np.ndarray) -> None:
    assert noise_to_signal([[np.asarray([1.0, 2.0])]], [[found]]) == math.inf


def test_infinities_of_float_are_no_noise_where_they_stay() -> None:
    wanted = np.asarray([-np.inf, np.nan, 3.0, 4.0])
    found = np.asarray([-np.inf, np.nan, 3.0, 3.0])
    assert noise_to_signal([[wanted]], [[found]]) == pytest.approx(1 / 25)
    found[0] = np.inf
    assert noise_to_signal([[wanted]], [[found]]) == math.inf


def test_sequences_and_strings_have_to_be_equal() -> None:
    parts = [np.ones(2), np.zeros(3)]
    assert noise_to_signal([[parts]], [[[np.ones(2), np.zeros(3)]]]) == 0.0
    assert noise_to_signal([[parts]], [[[np.ones(2)]]]) == math.inf
    words = np.asarray(["a", "b"], object)
    assert noise_to_signal([[words]], [[words.copy()]]) == 0.0
    assert noise_to_signal([[words]], [[words[::-1]]]) > 1


def test_parts_of_an_output_are_judged_apart() -> None:
    wanted = np.asarray([[600.0, 600.0, 0.5, 0.5]])
    found = np.asarray([[600.0, 600.0, 0.0, 0.0]])
    assert noise_to_signal([[wanted]], [[found]]) < 1e-5  # the control: as a whole all is well
    slices = slices_by_data([wanted])
    assert noise_to_signal([[wanted]], [[found]], [slices]) == pytest.approx(1.0)


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
    assert judge.losses(lambda feed: [2.2 * feed["x"]]) == [pytest.approx(0.01)]
    assert calls == 2
