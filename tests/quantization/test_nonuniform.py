from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from scipy.cluster.vq import kmeans2

from qcompiler.errors import ConfigurationError
from qcompiler.quantization.nonuniform import QTensor, codebook_levels, log2_levels, quantize
from qcompiler.quantization.qspace import S8_SYMMETRIC_PER_CHANNEL, Granularity, QSpace


def _values(seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal((6, 40)).astype(np.float32)


def test_log2_levels_are_zero_and_powers_of_two() -> None:
    levels = log2_levels(np.asarray([0.9, -0.1], np.float32), 4)
    mantissa, _ = np.frexp(levels[levels != 0])
    assert levels.size == 15
    np.testing.assert_array_equal(np.abs(mantissa), 0.5)
    assert levels.max() == 1.0


def test_log2_takes_the_nearest_level() -> None:
    found = quantize(_values(), "log2", bits=4)
    assert found.levels is not None
    distance = np.abs(_values()[..., None] - found.levels)
    np.testing.assert_allclose(np.abs(found.dequantize() - _values()), distance.min(-1), rtol=1e-6)


def test_codebook_is_a_k_means_solution() -> None:
    """scipy's Lloyd iterations, started from our levels, stay there."""
    values = _values().ravel()
    levels = codebook_levels(values, 3)
    centres, _ = kmeans2(values.astype(np.float64), levels.astype(np.float64), 1, minit="matrix")
    np.testing.assert_allclose(np.ravel(centres), levels, rtol=1e-6)


def test_codebook_beats_uniform_levels_on_a_heavy_tail() -> None:
    values = np.random.default_rng(1).standard_t(3, (4, 2000)).astype(np.float32)
    uniform = quantize(values, QSpace(ir.DataType.INT4, symmetric=True))
    codebook = quantize(values, "codebook", bits=4)
    assert np.mean((codebook.dequantize() - values) ** 2) < 0.2 * np.mean(
        (uniform.dequantize() - values) ** 2
    )


@pytest.mark.parametrize("kind", ["log2", "codebook"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_levels_per_channel_are_those_of_the_slice(kind: str, axis: int) -> None:
    values = _values()
    whole = quantize(values, kind, axis=axis, bits=3).dequantize()  # type: ignore[arg-type]
    for index in range(values.shape[axis]):
        alone = quantize(values.take(index, axis), kind, bits=3)  # type: ignore[arg-type]
        np.testing.assert_array_equal(whole.take(index, axis), alone.dequantize())


def test_few_distinct_values_are_exact() -> None:
    values = np.asarray([-1.5, 0.0, 2.25, 0.0, 2.25] * 9, np.float32)
    np.testing.assert_array_equal(quantize(values, "codebook", bits=4).dequantize(), values)


@pytest.mark.parametrize("kind", ["log2", "codebook", S8_SYMMETRIC_PER_CHANNEL])
def test_zeros_stay_zeros(kind: QSpace | str) -> None:
    zeros = np.zeros((3, 4), np.float32)
    np.testing.assert_array_equal(quantize(zeros, kind, axis=0).dequantize(), zeros)  # type: ignore[arg-type]


def test_bits_tell_the_storage() -> None:
    assert quantize(_values(), "codebook", bits=3).bits == 3
    assert quantize(_values(), "log2", bits=4).bits == 4
    groups = QSpace(ir.DataType.INT4, True, Granularity.GROUP, 8)
    assert quantize(_values(), groups, axis=1).bits == 4


def test_same_bytes_every_time() -> None:
    first, second = (quantize(_values(), "codebook", bits=4, axis=0) for _ in range(2))
    assert first.data.tobytes() == second.data.tobytes()
    assert first.levels is not None
    assert second.levels is not None
    assert first.levels.tobytes() == second.levels.tobytes()


def test_errors_name_the_cause() -> None:
    with pytest.raises(ConfigurationError, match="NaN"):
        quantize(np.asarray([np.nan]), "log2")
    with pytest.raises(ConfigurationError, match="no quantizer"):
        quantize(_values(), "log3")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="2 to 16"):
        quantize(_values(), "log2", bits=1)
    with pytest.raises(ConfigurationError, match="axis"):
        quantize(_values(), "log2", axis=2)
    with pytest.raises(ConfigurationError, match="either"):
        QTensor(np.zeros(3, np.int8))
