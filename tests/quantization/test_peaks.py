"""Ranges of a handful of rows, measured on rows that were not among them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.quantization.numerics import fake_quantize
from qcompiler.quantization.observers import make_observer
from qcompiler.quantization.parameters import choose_qparams
from qcompiler.quantization.qspace import S8_SYMMETRIC, U8_AFFINE, QSpace, Range

Array = npt.NDArray[np.float32]
SPACES = pytest.mark.parametrize("space", [U8_AFFINE, S8_SYMMETRIC], ids=lambda s: s.name)
METHODS = pytest.mark.parametrize("method", ["minmax", "mse"])


def normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def laplace(rng: np.random.Generator, *shape: int) -> Array:
    return rng.laplace(size=shape).astype(np.float32)


def loud_and_quiet(rng: np.random.Generator, *shape: int) -> Array:
    loudness = np.exp(0.5 * rng.standard_normal((shape[0], 1)))
    return (rng.standard_normal(shape) * loudness).astype(np.float32)


def relu(rng: np.random.Generator, *shape: int) -> Array:
    return np.maximum(normal(rng, *shape), 0)


def noise(rows: Array, found: Range, space: QSpace) -> float:
    rounded = fake_quantize(rows, choose_qparams(found.low, found.high, space))
    return float(np.mean((rounded.astype(np.float64) - rows) ** 2))


def plain(rows: Array) -> Range:
    return Range(float(rows.min()), float(rows.max()))


def gains(
    draw: Callable[..., Array], rows: int, width: int, method: str, space: QSpace
) -> npt.NDArray[np.float64]:
    """dB on unseen rows over the range of the extremes, by draw."""
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        seen, others = draw(rng, rows, width), draw(rng, 100, width)
        wide = make_observer(method).update(seen).range_for(space)
        found.append(noise(others, plain(seen), space) / noise(others, wide, space))
    return 10 * np.log10(found)


@METHODS
@SPACES
@pytest.mark.parametrize("draw", [normal, laplace, loud_and_quiet, relu])
@pytest.mark.parametrize("rows", [8, 16])
def test_unseen_rows_of_short_vectors_keep_more(
    draw: Callable[..., Array], rows: int, method: str, space: QSpace
) -> None:
    assert np.median(gains(draw, rows, 16, method, space)) > 3


@METHODS
@pytest.mark.parametrize("draw", [normal, relu])
def test_nothing_is_spent_where_maps_are_large_and_rows_are_many(
    draw: Callable[..., Array], method: str
) -> None:
    assert np.median(gains(draw, 64, 2048, method, U8_AFFINE)) > -0.1


def test_large_maps_and_many_rows_keep_their_extremes() -> None:
    seen = normal(np.random.default_rng(0), 64, 8192)
    assert make_observer("minmax").update(seen).range_for(U8_AFFINE) == plain(seen)


@SPACES
def test_ends_lie_where_the_expected_error_is_least(space: QSpace) -> None:
    """Oracle: the sum of both errors, by a search over ends."""
    seen = normal(np.random.default_rng(3), 16, 256)
    high, low = np.sort(seen.max(axis=1)), np.sort(-seen.min(axis=1))
    found = make_observer("minmax").update(seen).range_for(space)

    def beyond(reached: Array, ends: Array) -> Array:
        others = reached[:-1].astype(np.float64)
        beta = (others - others[0])[1:].mean()
        excess = np.exp(-(ends - others[-1]) / beta)
        return np.asarray(2 * beta**2 / len(reached) * excess, np.float32)

    ups, downs = np.linspace(high[-1], 12, 2000), np.linspace(low[-1], 12, 2000)
    levels = space.qmax - space.qmin
    if space.symmetric:
        cost = 256 * (2 * ups / levels) ** 2 / 12 + beyond(high, ups)
        assert found.high == pytest.approx(ups[cost.argmin()], abs=0.02)
        return
    steps = (ups[:, None] + downs[None]) / levels
    costs = 256 * steps**2 / 12 + beyond(high, ups)[:, None] + beyond(low, downs)[None]
    up, down = np.unravel_index(costs.argmin(), costs.shape)
    assert found.high == pytest.approx(ups[up], abs=0.02)
    assert found.low == pytest.approx(-downs[down], abs=0.02)


@SPACES
@METHODS
def test_one_outlier_stretches_nothing(method: str, space: QSpace) -> None:
    rows = np.random.default_rng(0).uniform(-1, 1, (16, 64)).astype(np.float32)
    rows[5, 7] = 30.0
    found = make_observer(method).update(rows).range_for(space)
    assert found.high <= 30.0


@METHODS
def test_what_all_rows_reach_alike_and_zero_stay(method: str) -> None:
    rows = np.random.default_rng(0).uniform(0, 1, (8, 16)).astype(np.float32)
    rows[:, 0], rows[:, 1] = 0.0, 1.0
    found = make_observer(method).update(rows).range_for(U8_AFFINE)
    assert found.low >= 0.0
    assert found.high <= 1.0


@pytest.mark.parametrize("rows", [1, 2])
def test_one_or_two_rows_tell_nothing(rows: int) -> None:
    seen = normal(np.random.default_rng(0), rows, 16)
    assert make_observer("minmax").update(seen).range_for(U8_AFFINE) == plain(seen)


@SPACES
@METHODS
def test_an_end_moves_by_what_was_seen_at_most(method: str, space: QSpace) -> None:
    rows = np.asarray([[0, 0], [0, 1], [0, 1]], np.float32)
    assert 1.0 < make_observer(method).update(rows).range_for(space).high <= 2.0


def test_the_largest_floats_stay_floats() -> None:
    rows = np.linspace(1e38, 3.4e38, 12, dtype=np.float32)[:, None] * np.asarray(
        [-1, 1], np.float32
    )
    found = make_observer("minmax").update(rows).range_for(U8_AFFINE)
    assert np.isfinite(np.asarray([found.low, found.high], np.float32)).all()
