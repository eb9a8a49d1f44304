"""What of outputs differs from sample to sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qcompiler.outputs.kinds import OutputKind, Purpose
from qcompiler.outputs.tolerances import tolerances_of
from qcompiler.outputs.variation import varying_share

RNG = np.random.default_rng(0)


def _rows(shape: tuple[int, ...], offset: float = 0.0, count: int = 16) -> list[np.ndarray]:
    return [np.asarray(RNG.normal(size=shape) + offset, np.float32) for _ in range(count)]


@pytest.mark.parametrize("shape", [(), (1,), (1, 3), (2, 5), (1, 4, 6), (1, 2, 5, 5)])
def test_what_has_no_offset_varies_wholly(shape: tuple[int, ...]) -> None:
    assert varying_share(_rows(shape, count=64)) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("shape", [(), (1,), (1, 3), (2, 5), (1, 4, 6)])
def test_an_offset_of_all_samples_is_no_signal(shape: tuple[int, ...]) -> None:
    # power is 1 + 9^2 of which 1 varies
    assert varying_share(_rows(shape, 9.0, 256)) == pytest.approx(1 / 82, rel=0.3)


def test_components_have_offsets_of_their_own() -> None:
    samples = [each + np.asarray([[5, -5, 0]], np.float32) for each in _rows((1, 3), count=256)]
    assert varying_share(samples) == pytest.approx(3 / 53, rel=0.2)


def test_directions_have_one_as_well() -> None:
    samples = [each + np.float32(3) for each in _rows((1, 32), count=64)]
    scaled = [each * np.float32(RNG.uniform(1, 100)) for each in samples]
    assert varying_share(scaled, unit=True) == pytest.approx(0.1, rel=0.2)


@pytest.mark.parametrize(
    "samples",
    [
        [],
        _rows((1, 3), 9.0, count=7),
        [np.full((1, 3), 2.0, np.float32)] * 16,
        [np.zeros((1, 3), np.float32)] * 16,
        [np.full((1, 1), np.nan, np.float32)] * 16,
        [np.ones((1, i + 1), np.float32) for i in range(16)],
        [np.zeros((0, 3), np.float32)] * 16,
        [np.arange(3)] * 16,
        [[np.ones(3, np.float32)]] * 16,
        [None] * 16,
    ],
    ids=[
        "none",
        "few",
        "constant",
        "zero",
        "nan",
        "ragged",
        "empty",
        "integers",
        "sequence",
        "absent",
    ],
)
def test_where_nothing_is_known_all_of_it_counts(samples: list[Any]) -> None:
    assert varying_share(samples) == 1


def test_samples_that_are_all_but_equal_count_as_a_ten_thousandth() -> None:
    samples = [each * np.float32(1e-5) + 1 for each in _rows((1, 3))]
    assert varying_share(samples) == 1e-4


@pytest.mark.parametrize("purpose", [Purpose.VALUES, Purpose.EMBEDDING, Purpose.STATE])
def test_the_bound_is_of_what_varies(purpose: Purpose) -> None:
    """A rating of 3 give or take 0.1: 21 dB of 3 were 0.26. States feed the network again."""
    samples = [np.full((1, 2), 3, np.float32) + each * np.float32(0.1) for each in _rows((1, 2))]
    kind = OutputKind(purpose, "as the test says")
    (found,) = tolerances_of(["y"], [kind], [None], [[each] for each in samples], [[False]])
    share = varying_share(samples, unit=purpose is Purpose.EMBEDDING)
    assert share < 2e-3
    expected = 0.0075 * (1 if purpose is Purpose.STATE else share)
    assert found.bound == pytest.approx(expected)
    assert ("no signal" in found.reason) == (purpose is not Purpose.STATE)


def test_an_offset_that_is_less_than_half_is_let_be() -> None:
    samples = [each + np.float32(0.5) for each in _rows((1, 2), count=64)]
    assert 0.5 < varying_share(samples) < 0.95
    kind = OutputKind(Purpose.VALUES, "as the test says")
    (found,) = tolerances_of(["y"], [kind], [None], [[each] for each in samples], [[False]])
    assert found.bound == 0.0075
