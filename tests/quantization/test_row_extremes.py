"""Means of sample extremes, and what to expect beyond them; the oracle is numpy and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.quantization.bounds import Bounds
from qcompiler.quantization.observers import make_observer, reinterpreted
from qcompiler.quantization.peaks import row_ends
from qcompiler.quantization.qspace import U8_AFFINE
from qcompiler.quantization.row_extremes import RowExtremes


def extremes(rows: np.ndarray) -> RowExtremes:
    return RowExtremes().update(*row_ends(rows, Bounds.of(rows)))


def test_a_histogram_gives_the_moving_average_that_calibrating_with_it_gives() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(32, 50)).astype(np.float32)
    direct = make_observer("moving-average").update(rows)
    histogram = make_observer("mse").update(rows[:5]).merge(make_observer("mse").update(rows[5:]))
    read = reinterpreted(histogram, "moving-average").range_for(U8_AFFINE)
    assert read == direct.range_for(U8_AFFINE)
    assert read.low == pytest.approx(rows.min(axis=1).astype(np.float64).mean(), rel=1e-12)
    assert read.high == pytest.approx(rows.max(axis=1).astype(np.float64).mean(), rel=1e-12)


def test_a_mask_is_no_part_of_the_moving_average() -> None:
    rows = np.random.default_rng(1).normal(size=(8, 50)).astype(np.float32)
    rows[:, 3] = -1e9
    found = make_observer("moving-average").update(rows).range_for(U8_AFFINE)
    assert -6 < found.low < -1


@pytest.mark.parametrize("samples", [4, 8, 32])
def test_extremes_of_few_samples_reach_those_of_four_times_as_many(samples: int) -> None:
    """On average over draws, within a tenth of the spread; without it they fall short."""
    rng = np.random.default_rng(samples)
    plain, extended, wanted = [], [], []
    for _ in range(400):
        rows = rng.normal(size=(4 * samples, 64)).astype(np.float32)
        seen = rows[:samples]
        found = extremes(seen).beyond(float(seen.min()), float(seen.max()), 4.0)
        plain.append(seen.max())
        extended.append(found.high)
        wanted.append(rows.max())
    spread = np.std(wanted)
    assert abs(np.mean(extended) - np.mean(wanted)) < 0.5 * spread
    assert np.mean(wanted) - np.mean(plain) > 0.8 * spread


def test_an_end_at_zero_and_a_single_sample_stay() -> None:
    rows = np.abs(np.random.default_rng(2).normal(size=(4, 20))).astype(np.float32)
    rows[:, 0] = 0.0
    found = extremes(rows).beyond(0.0, float(rows.max()), 4.0)
    assert found.low == 0.0
    assert found.high > rows.max()
    alone = extremes(rows[:1]).beyond(0.0, 1.0, 4.0)
    assert (alone.low, alone.high) == (0.0, 1.0)
