"""`PatchGram`: which positions are taken, and what is left out; its sums are tested with layers."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.errors import CalibrationError
from qcompiler.statistics.patches import PatchGram, spread


@pytest.mark.parametrize("total", [1, 7, 64, 65, 1000, 112 * 112])
def test_positions_are_spread_and_no_more_than_wanted(total: int) -> None:
    found = spread(total, 64)
    assert len(set(found)) == len(found) <= 64
    assert found.min() >= 0
    assert found.max() < total
    if total <= 64:
        assert len(found) == total
    else:
        assert len(found) > 32
        assert np.diff(found, prepend=0, append=total).max() < 4 * total / len(found)
    if total == 112 * 112:  # every column of the image is as likely: 63 positions, 112 columns
        assert len(set(found % 112)) > 32


def test_a_sample_that_is_not_finite_is_left_out() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 5)).astype(np.float32)
    clean = PatchGram(kernel="1x1", positions=100).update(x)
    x[1, 2, 0, 0] = np.nan
    found = PatchGram(kernel="1x1", positions=100).update(x)
    assert (clean.count, found.count) == (50, 49)
    assert found.moments is not None
    assert np.isfinite(found.moments).all()


def test_no_more_rows_than_positions() -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 40, 40)).astype(np.float32)
    assert 0 < PatchGram(kernel="3x3", positions=16).update(x).count <= 48


def test_a_value_of_another_rank_is_named() -> None:
    with pytest.raises(CalibrationError, match="no patches of 3x3 in 2 groups"):
        PatchGram(kernel="3x3", groups=2).update(np.zeros((1, 3, 5, 5), np.float32))
