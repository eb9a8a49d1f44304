"""Laws of observers: every split, order and merge tree gives the same bytes (T1)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompiler.quantization.exact_sum import ExactSum
from qcompiler.quantization.histogram import Histogram, sample_rows
from qcompiler.quantization.observers import (
    OBSERVERS,
    MinMax,
    Observer,
    make_observer,
    observer_from_state,
)
from qcompiler.quantization.peaks import Peaks
from qcompiler.quantization.qspace import S8_SYMMETRIC, U8_AFFINE

Array = npt.NDArray[np.float32]
LAW = settings(max_examples=30, deadline=None)
METHODS = pytest.mark.parametrize("method", list(OBSERVERS))
_special = st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, -1e4, -65504.0, -3.4e38, 1e-45])
_ordinary = st.floats(-3.0, 3.0, width=32) | st.floats(-1e6, 1e6, width=32)
_any_float = st.floats(width=32)


@st.composite
def samples(draw: st.DrawFn) -> list[Array]:
    """Rows [1, length, 2] of different lengths, scales and kinds of values."""
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from([_ordinary, _ordinary | _special, _any_float]))
        length = draw(st.integers(1, 7))
        values = draw(st.lists(kind, min_size=2 * length, max_size=2 * length))
        rows.append(np.asarray(values, np.float32).reshape(1, length, 2))
    return rows


def _bytes(observer: Observer) -> dict[str, bytes]:
    return {key: value.tobytes() for key, value in observer.state().items()}


def _make(method: str) -> Observer:
    """Small limits, so that widening and sampling happen."""
    small = {} if method in ("minmax", "moving-average") else {"bins": 16, "cap": 5}
    return make_observer(method, **small)


def _tree(parts: Sequence[Observer], data: st.DataObject) -> Observer:
    """Merges the parts pairwise along a random binary tree."""
    left = list(parts)
    while len(left) > 1:
        position = data.draw(st.integers(0, len(left) - 2))
        left[position : position + 2] = [left[position].merge(left[position + 1])]
    return left[0]


@METHODS
@LAW
@given(rows=samples(), data=st.data())
def test_t01_any_order_split_and_merge_tree_gives_the_same_bytes(
    method: str, rows: list[Array], data: st.DataObject
) -> None:
    whole = _make(method)
    for row in rows:
        whole = whole.update(row)
    shuffled = data.draw(st.permutations(rows))
    parts = [_make(method).update(row) for row in shuffled]
    assert _bytes(_tree(parts, data)) == _bytes(whole)


@METHODS
@LAW
@given(rows=samples(), length=st.integers(1, 9))
def test_t01_a_batch_equals_its_rows(method: str, rows: list[Array], length: int) -> None:
    same = [np.resize(row, (1, length, 2)) for row in rows]
    batch = _make(method).update(np.concatenate(same))
    single = _make(method)
    for row in same:
        single = single.update(row)
    assert _bytes(batch) == _bytes(single)


@METHODS
@LAW
@given(rows=samples())
def test_empty_is_neutral_and_state_survives_a_checkpoint(method: str, rows: list[Array]) -> None:
    found = _make(method).update(rows[0])
    assert _bytes(found.merge(_make(method))) == _bytes(found)
    assert _bytes(_make(method).merge(found)) == _bytes(found)
    assert _bytes(observer_from_state(found.state())) == _bytes(found)


@METHODS
@LAW
@given(rows=samples())
def test_the_range_is_within_the_finite_values(method: str, rows: list[Array]) -> None:
    """Of two rows; of more, some methods foresee others."""
    rows, found = rows[:2], _make(method)
    for row in rows:
        found = found.update(row)
    values = np.concatenate([row.ravel() for row in rows])
    finite = values[np.isfinite(values)]
    assert found.count == finite.size
    assert sum(found.nonfinite) == values.size - finite.size
    if finite.size == 0:
        return
    assert found.low == finite.min()
    assert found.high == finite.max()
    for space in (U8_AFFINE, S8_SYMMETRIC):
        span = found.range_for(space)
        assert finite.min() <= span.low <= span.high <= finite.max()


@LAW
@given(rows=samples())
def test_reduced_bounds_equal_observed_ones(rows: list[Array]) -> None:
    seen, reduced = MinMax(), MinMax()
    for row in rows:
        finite = np.nan_to_num(row, nan=0.0, posinf=1.0, neginf=-1.0)
        seen = seen.update(finite)
        low, high = finite.min(), finite.max()
        peaks = Peaks.of(low[None], high[None])
        reduced = reduced.update_bounds(float(low), float(high), finite.size, peaks)
    assert (reduced.low, reduced.high, reduced.count) == (seen.low, seen.high, seen.count)
    assert (
        _bytes(reduced).items()
        >= {name: each for name, each in _bytes(seen).items() if name.startswith("peaks")}.items()
    )


@LAW
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_histogram_counts_equal_numpy(values: list[float]) -> None:
    """Oracle: np.histogram over the same edges, whose last bin is closed as ours is."""
    array = np.asarray(values, np.float32)
    found = Histogram(bins=32).update(array, float(array.min()), float(array.max()))
    assert found.total == array.size
    assert found.counts.size <= 32
    inner = found.edges.copy()
    inner[0], inner[-1] = -np.inf, np.inf
    index = np.searchsorted(inner[1:-1], array.astype(np.float64), side="right")
    np.testing.assert_array_equal(found.counts, np.bincount(index, minlength=found.counts.size))


@LAW
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_exact_sum_is_the_rounded_true_mean(values: list[float]) -> None:
    exact = sum((Fraction(value) for value in values), Fraction(0)) / len(values)
    assert ExactSum().update(np.asarray(values, np.float32)).mean(len(values)) == float(exact)


@LAW
@given(st.integers(1, 300), st.integers(1, 20))
def test_sampling_is_even_and_bounded(size: int, cap: int) -> None:
    row = np.arange(size, dtype=np.float32)[None]
    found = sample_rows(row, cap)[0]
    assert 1 <= found.size <= max(cap, 1)
    assert np.ptp(np.diff(found)) == 0 if found.size > 2 else True
    assert set(found) <= set(row[0])


def test_state_is_bounded() -> None:
    rng = np.random.default_rng(0)
    sizes: dict[str, list[int]] = {}
    for method in OBSERVERS:
        found: Observer = make_observer(method)
        for _ in range(3):
            for scale in (1e-3, 1.0, 1e5):
                found = found.update((rng.standard_normal((4, 500)) * scale).astype(np.float32))
            size = sum(array.nbytes for array in found.state().values())
            sizes.setdefault(method, []).append(size)
    assert all(size < 40_000 for found_sizes in sizes.values() for size in found_sizes)
