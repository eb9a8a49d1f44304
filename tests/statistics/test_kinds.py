"""Statistics: equal to numpy over all data, whatever the batches, the order and the merge tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.ir.requests import Request
from qcompiler.statistics.kinds import (
    KINDS,
    ChannelExtremes,
    ChannelMean,
    Gram,
    Reservoir,
    collector,
)
from qcompiler.statistics.statistic import Statistic

Array = npt.NDArray[np.float32]
EXACT = ("channel-extremes", "rows")


def data() -> Array:
    return np.random.default_rng(0).normal(0, 3, (24, 5, 4)).astype(np.float32)


def made(kind: str) -> Statistic:
    options: dict[str, dict[str, Any]] = {
        "rows": {"axis": 1, "rows": 16},
        "patch-gram": {"kernel": "1"},
    }
    found = collector(Request.of("x", kind, **options.get(kind, {"axis": 1})))
    assert isinstance(found, Statistic)
    return found


def split(array: Array, sizes: tuple[int, ...]) -> list[Array]:
    return np.split(array, np.cumsum(sizes)[:-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(24,), (1, 23), (7, 9, 8), (1,) * 24])
def test_batches_and_order_do_not_matter(kind: str, sizes: tuple[int, ...]) -> None:
    whole = made(kind).update(data())
    parts = [made(kind).update(part) for part in split(data(), sizes)]
    for order in (parts, parts[::-1]):
        merged = made(kind)
        for part in order:
            merged = merged.merge(part)
        assert merged.count == whole.count == 24 * 4
        for name, array in whole.state().items():
            if kind in EXACT:
                np.testing.assert_array_equal(merged.state()[name], array)
            else:  # float64 sums of 96 terms
                np.testing.assert_allclose(merged.state()[name], array, rtol=96 * 2.0**-52)


def rows() -> Array:
    return np.moveaxis(data(), 1, -1).reshape(-1, 5)


def test_they_are_numpys() -> None:
    extremes = made("channel-extremes").update(data())
    assert isinstance(extremes, ChannelExtremes)
    np.testing.assert_array_equal(extremes.low, rows().min(0))
    np.testing.assert_array_equal(extremes.high, rows().max(0))
    mean = made("channel-mean").update(data())
    assert isinstance(mean, ChannelMean)
    np.testing.assert_allclose(mean.mean, rows().astype(np.float64).mean(0), rtol=1e-12)
    gram = made("gram").update(data())
    assert isinstance(gram, Gram)
    wide = rows().astype(np.float64)
    assert gram.moments is not None
    np.testing.assert_allclose(gram.moments, np.asarray(wide.T @ wide), rtol=1e-12)


def test_a_reservoir_holds_rows_of_the_data_and_no_more_than_it_may() -> None:
    kept = made("rows").update(data())
    assert isinstance(kept, Reservoir)
    assert kept.kept is not None
    assert kept.kept.shape == (16, 5)
    known = {row.tobytes() for row in rows()}
    assert {row.tobytes() for row in kept.kept} <= known


@pytest.mark.parametrize("kind", KINDS)
def test_rows_with_no_numbers_are_left_out(kind: str) -> None:
    dirty = np.concatenate([data(), data()[:2]])
    dirty[-2:, 3] = np.nan
    dirty[-1, 0] = np.inf
    clean, found = made(kind).update(data()), made(kind).update(dirty)
    assert found.count == clean.count
    for name, array in clean.state().items():
        np.testing.assert_allclose(found.state()[name], array, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_state_comes_back(kind: str) -> None:
    found = made(kind).update(data())
    again = made(kind).restored(found.state())
    assert again.count == found.count
    for name, array in found.state().items():
        np.testing.assert_array_equal(again.state()[name], array)
    assert made(kind).restored({}).count == 0


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (Request.of("x", "guess"), "no kind of statistic"),
        (Request.of("x", "gram", depth=3), "depth"),
        (Request.of("x", "rows", rows=0), "keeps nothing"),
        (Request.of("x", method="guess"), "no calibration method"),
    ],
)
def test_what_cannot_be_asked_for(request_: Request, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        collector(request_)


def test_an_axis_that_is_not_there() -> None:
    with pytest.raises(CalibrationError, match="no axis 3"):
        collector(Request.of("x", "gram", axis=3)).update(data())


@pytest.mark.parametrize("change", [lambda r: r.line(), lambda r: r.line() + " saw [0, 1]"])
def test_requests_are_lines_of_text(change: Callable[[Request], str]) -> None:
    asked = Request.of('a "quoted" name', "rows", rows=4, axis=-1)
    assert Request.from_line(change(asked)) == asked
