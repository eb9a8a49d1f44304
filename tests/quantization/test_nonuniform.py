from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from scipy.cluster.vq import kmeans2

from qcompiler.errors import ConfigurationError
from qcompiler.quantization.nonuniform import codebook_levels, log2_levels, table_params
from qcompiler.quantization.numerics import dequantize, fake_quantize, quantize
from qcompiler.quantization.parameters import weight_qparams
from qcompiler.quantization.qspace import Granularity, Levels, QParams, QSpace

Values = np.ndarray[Any, np.dtype[np.float32]]


def _values(seed: int = 0, *shape: int) -> Values:
    return np.random.default_rng(seed).standard_normal(shape or (6, 40)).astype(np.float32)


def _space(
    levels: Levels, bits: int = 4, granularity: str = "tensor", size: int | None = None
) -> QSpace:
    return QSpace(ir.DataType.UINT8, True, Granularity(granularity), size, bits=bits, levels=levels)


@pytest.mark.parametrize("bits", range(2, 17))
def test_log2_levels_are_zero_and_powers_of_two(bits: int) -> None:
    levels = log2_levels(bits)
    mantissa, _ = np.frexp(levels[levels != 0])
    np.testing.assert_array_equal(np.abs(mantissa), 0.5)
    assert levels.max() == 1.0
    assert 0.0 in levels
    assert levels.size == min(2**bits - 1, 2 * 127 + 1)
    np.testing.assert_array_equal(levels, np.sort(-levels))


@pytest.mark.parametrize("bits", range(2, 13))
def test_two_terms_have_at_most_two_ones_in_binary(bits: int) -> None:
    levels = log2_levels(bits, terms=2).astype(np.float64)
    assert np.all(np.diff(levels) > 0)
    assert levels.size < 2**bits
    top = levels[levels > 0]
    whole = (top / top.min()).astype(np.int64)
    assert max(each.bit_count() for each in whole.tolist()) == min(2, bits - 1)
    # One exponent more would not fit: with n of them there are n + n * (n - 1) / 2 sums.
    n = round(-np.log2(top.min())) + 1
    assert top.size == n * (n + 1) // 2
    assert n == 24 or (n + 1) * (n + 2) // 2 > 2 ** (bits - 1) - 1


@pytest.mark.parametrize("levels", [Levels.LOG2, Levels.LOG2_SUMS])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_scales_of_powers_lose_least(levels: Levels, granularity: str) -> None:
    """Twice and half the scale are no better; largest values are not cut off."""
    for seed in range(20):
        values = _values(seed, 1, 60) * np.float32(2.0 ** (seed / 3))
        space = _space(levels, 6, granularity)
        params = weight_qparams(values, space, 0)
        peak = np.abs(values).argmax()

        def loss(found: QParams, at: int = int(peak), x: Values = values) -> float:
            return float(abs(fake_quantize(x, found) - x).ravel()[at])

        others = [
            QParams(params.scale * factor, params.zero_point, space, params.axis, params.levels)
            for factor in (np.float32(0.5), np.float32(2.0))
        ]
        assert loss(params) <= min(map(loss, others)) + 1e-6


def test_codebook_is_a_k_means_solution() -> None:
    """scipy's Lloyd iterations, started from our levels, stay there."""
    values = _values().ravel()
    levels = codebook_levels(values, 3)
    centres, _ = kmeans2(values.astype(np.float64), levels.astype(np.float64), 1, minit="matrix")
    np.testing.assert_allclose(np.ravel(centres), levels, rtol=1e-6)


def test_importance_counts_as_copies() -> None:
    """A value of importance 3 is three values."""
    values = _values(1, 30)
    importance = np.random.default_rng(2).integers(0, 4, 30).astype(np.float32)
    copies = np.repeat(values, importance.astype(int))
    levels = codebook_levels(values, 2, importance)
    centres, _ = kmeans2(copies.astype(np.float64), levels.astype(np.float64), 1, minit="matrix")
    np.testing.assert_allclose(np.ravel(centres), levels, rtol=1e-5)
    np.testing.assert_array_equal(
        codebook_levels(values, 2, np.zeros(30, np.float32)), codebook_levels(values, 2)
    )


def test_codebook_beats_uniform_levels_on_a_heavy_tail() -> None:
    values = np.random.default_rng(1).standard_t(3, (4, 2000)).astype(np.float32)
    even = QSpace(ir.DataType.INT4, symmetric=True)
    lost = [
        np.mean((fake_quantize(values, weight_qparams(values, space)) - values) ** 2)
        for space in (even, _space(Levels.CODEBOOK))
    ]
    assert lost[1] < 0.2 * lost[0]


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(
    ("levels", "size"),
    [(Levels.LOG2, None), (Levels.LOG2_SUMS, None), (Levels.CODEBOOK, None), (Levels.CODEBOOK, 3)],
)
def test_tables_of_slices_are_those_of_the_slices_alone(
    levels: Levels, axis: int, size: int | None
) -> None:
    values = _values(0, 4, 7)
    granularity = "channel" if size is None else "group"
    whole = fake_quantize(
        values, weight_qparams(values, _space(levels, 3, granularity, size), axis)
    )
    for start in range(0, values.shape[axis], size or 1):
        part = values.take(range(start, min(start + (size or 1), values.shape[axis])), axis)
        alone = fake_quantize(part, weight_qparams(part, _space(levels, 3)))
        kept = whole.take(range(start, min(start + (size or 1), values.shape[axis])), axis)
        np.testing.assert_array_equal(kept, alone)


def test_few_distinct_values_are_exact() -> None:
    values = np.asarray([-1.5, 0.0, 2.25, 0.0, 2.25] * 9, np.float32)
    space = _space(Levels.CODEBOOK)
    np.testing.assert_array_equal(fake_quantize(values, weight_qparams(values, space)), values)


@pytest.mark.parametrize("levels", [Levels.LOG2, Levels.LOG2_SUMS, Levels.CODEBOOK])
def test_zeros_stay_zeros(levels: Levels) -> None:
    zeros = np.zeros((3, 4), np.float32)
    params = weight_qparams(zeros, _space(levels, 4, "channel"), 0)
    np.testing.assert_array_equal(fake_quantize(zeros, params), zeros)


def test_nothing_has_a_table_too() -> None:
    empty = np.zeros((3, 0), np.float32)
    for levels in (Levels.LOG2, Levels.CODEBOOK):
        params = weight_qparams(empty, _space(levels, 4, "channel"), 0)
        assert fake_quantize(empty, params).shape == (3, 0)


def test_same_bytes_every_time() -> None:
    space = _space(Levels.CODEBOOK, 4, "channel")
    first, second = (weight_qparams(_values(), space, 0) for _ in range(2))
    assert first.same_as(second)
    assert quantize(_values(), first).tobytes() == quantize(_values(), second).tobytes()


def test_other_levels_are_other_parameters() -> None:
    space = _space(Levels.CODEBOOK)
    first, second = (weight_qparams(_values(seed), space) for seed in (0, 1))
    assert not first.same_as(second)


def test_indices_stand_for_scaled_levels() -> None:
    params = weight_qparams(_values(), _space(Levels.LOG2, 4, "channel"), 0)
    assert params.levels is not None
    data = quantize(_values(), params)
    wanted = params.levels[data.astype(int)] * params.scale[:, None]
    np.testing.assert_array_equal(dequantize(data, params), wanted)


@pytest.mark.parametrize(
    ("levels", "bits", "name"),
    [
        (Levels.CODEBOOK, 4, "codebook4"),
        (Levels.LOG2, 4, "log2-4"),
        (Levels.LOG2_SUMS, 6, "log2x2-6"),
    ],
)
def test_spaces_say_what_they_are(levels: Levels, bits: int, name: str) -> None:
    space = _space(levels, bits, "channel")
    assert (space.numbers, space.name) == (name, f"{name}_per_channel")
    assert space.used_bits == bits


def test_what_cannot_be() -> None:
    with pytest.raises(ConfigurationError, match="unsigned"):
        QSpace(ir.DataType.INT8, True, levels=Levels.LOG2)
    with pytest.raises(ConfigurationError, match="no axis"):
        table_params(_values(), _space(Levels.CODEBOOK, 4, "channel"), 2)
    even = QSpace(ir.DataType.INT8, True)
    with pytest.raises(ConfigurationError, match="levels go with"):
        QParams(np.ones((), np.float32), np.zeros((), np.int64), even, None, log2_levels(3))
