"""Rounding and parameters against ONNX Runtime and hand-computed cases; T2 and T6."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qcompiler.errors import ConfigurationError
from qcompiler.quantization import numerics
from qcompiler.quantization.biases import quantize_bias
from qcompiler.quantization.numerics import dequantize, quantize
from qcompiler.quantization.packing import pack, unpack
from qcompiler.quantization.parameters import (
    choose_qparams,
    weight_qparams,
)
from qcompiler.quantization.qspace import (
    S8_AFFINE,
    S8_SYMMETRIC_PER_CHANNEL,
    S32_BIAS,
    U8_AFFINE,
    U16_AFFINE,
    Granularity,
    QParams,
    QSpace,
)

Array = npt.NDArray[Any]
S16_AFFINE = QSpace(ir.DataType.INT16, symmetric=False)


def _runtime_quantize(values: Array, params: QParams) -> Array:
    """ONNX Runtime's QuantizeLinear (opset 21)."""
    dtype = int(params.space.dtype)
    zero = params.zero_point.astype(params.space.dtype.numpy())
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], axis=params.axis or 0)
    graph = helper.make_graph(
        [node],
        "quantize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, values.shape)],
        [helper.make_tensor_value_info("y", dtype, values.shape)],
        [numpy_helper.from_array(params.scale, "s"), numpy_helper.from_array(zero, "z")],
    )
    opset = [helper.make_opsetid("", 21)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": values})[0])


@pytest.mark.parametrize("space", [U8_AFFINE, S8_AFFINE, U16_AFFINE, S16_AFFINE], ids=str)
def test_quantize_is_bit_equal_with_onnxruntime(space: QSpace) -> None:
    rng = np.random.default_rng(0)
    reciprocal_differs = False
    for _ in range(10):
        scale = np.asarray(10 ** rng.uniform(-6, 3), np.float32)
        zero = rng.integers(space.qmin, space.qmax, endpoint=True)
        params = QParams(scale, np.asarray(zero, np.int64), space)
        steps = np.arange(space.qmin - zero - 4, space.qmax - zero + 4, dtype=np.float32)
        special = np.asarray([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, -0.0], np.float32)
        values = np.concatenate([(steps + np.float32(0.5)) * scale, steps * scale, special])
        found = quantize(values, params)
        np.testing.assert_array_equal(found, _runtime_quantize(values, params))
        with np.errstate(over="ignore"):
            product = np.rint(values[:-7] * (np.float32(1.0) / scale)) + zero
        wrong = np.clip(product, space.qmin, space.qmax)
        reciprocal_differs |= bool(np.any(wrong != found[:-7].astype(np.float64)))
    assert reciprocal_differs  # negative control: the comparison sees a reciprocal


def test_quantize_per_channel_is_bit_equal_with_onnxruntime() -> None:
    values = np.random.default_rng(1).standard_normal((5, 7, 3)).astype(np.float32)
    params = weight_qparams(values, S8_SYMMETRIC_PER_CHANNEL, 1)
    np.testing.assert_array_equal(quantize(values, params), _runtime_quantize(values, params))


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((50, 3), None), ((50, 3), 0), ((3, 50), 1), ((7, 5, 4), 0), ((7, 5, 4), 1), ((90,), 0)],
)
def test_blocks_are_quantized_as_the_whole(
    shape: tuple[int, ...], axis: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numerics, "_BLOCK", 16)
    values = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    values.reshape(-1)[-3:] = [np.nan, np.inf, -np.inf]
    size = () if axis is None else (shape[axis],)
    scale = np.random.default_rng(3).uniform(0.01, 0.1, size).astype(np.float32)
    zero = np.random.default_rng(4).integers(-9, 9, size)
    granularity = Granularity.TENSOR if axis is None else Granularity.CHANNEL
    params = QParams(scale, np.asarray(zero), S8_AFFINE.with_granularity(granularity), axis)
    before = values.copy()
    np.testing.assert_array_equal(quantize(values, params), _runtime_quantize(values, params))
    np.testing.assert_array_equal(values, before)


def test_a_large_weight_is_quantized_in_little_more_memory_than_its_integers() -> None:
    values = np.ones((4096, 1024), np.float32)
    params = weight_qparams(values, S8_SYMMETRIC_PER_CHANNEL, 0)
    tracemalloc.start()
    try:
        integers = quantize(values, params)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * integers.nbytes  # all at once, it were 16 times


@pytest.mark.parametrize(
    ("dtype", "finite"), [(ir.DataType.FLOAT8E4M3FN, 127), (ir.DataType.FLOAT8E5M2, 124)]
)
def test_float8_is_bit_equal_with_onnx(dtype: ir.DataType, finite: int) -> None:
    """Middles between neighbours; what lies beyond the largest finite number saturates."""
    grid = np.arange(finite, dtype=np.uint8).view(dtype.numpy()).astype(np.float32)
    middles = (grid[1:] + grid[:-1]) / 2
    values = np.concatenate([middles, -middles, [1e6, -1e6, 0.0]]).astype(np.float32)
    params = QParams(
        np.asarray(1.0, np.float32), np.asarray(0, np.int64), QSpace(dtype, symmetric=True)
    )
    assert params.space.qmax == grid[-1]
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    graph = helper.make_graph(
        [node],
        "float8",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, values.shape)],
        [helper.make_tensor_value_info("y", int(dtype), values.shape)],
        [
            helper.make_tensor("s", TensorProto.FLOAT, [], [1.0]),
            helper.make_tensor("z", int(dtype), [], [0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": values})
    found = quantize(values, params)
    np.testing.assert_array_equal(found.view(np.uint8), np.asarray(wanted).view(np.uint8))


def test_int32_keeps_31_bits() -> None:
    params = QParams(np.asarray(0.25, np.float32), np.asarray(0, np.int64), S32_BIAS)
    exact = np.asarray([16777217 * 4.0, 1e20, -1e20], np.float32)
    np.testing.assert_array_equal(quantize(exact, params), [67108864 * 4, 2**31 - 1, -(2**31)])
    bias = quantize_bias(np.asarray([16777215.0], np.float32), 0.25, 0.125)
    assert bias[0] == 16777215 * 32


@pytest.mark.parametrize("dtype", [ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT2])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_packing_is_that_of_onnx(dtype: ir.DataType, count: int) -> None:
    low, high = (0, 15) if dtype is ir.DataType.UINT4 else (-(2 ** (dtype.bitwidth - 1)), 1)
    values = np.random.default_rng(count).integers(low, high, count, endpoint=True)
    packed = pack(values, dtype)
    proto = helper.make_tensor("t", int(dtype), [count], values.tolist())
    assert packed.size == -(-count * dtype.bitwidth // 8)
    np.testing.assert_array_equal(numpy_helper.to_array(proto).astype(int), values)
    np.testing.assert_array_equal(unpack(packed, [count], dtype).astype(int), values)
    if dtype is not ir.DataType.INT2:
        raw = onnx_bytes(values, dtype)
        np.testing.assert_array_equal(packed, raw)


def onnx_bytes(values: Array, dtype: ir.DataType) -> Array:
    """The packed bytes that onnx itself writes."""
    proto = numpy_helper.from_array(values.astype(dtype.numpy()))
    return np.frombuffer(proto.raw_data, np.uint8)


def test_packing_refuses_what_does_not_fit() -> None:
    with pytest.raises(ConfigurationError, match="INT4"):
        pack(np.asarray([8]), ir.DataType.INT4)
    with pytest.raises(ConfigurationError, match="not a packed type"):
        pack(np.asarray([8]), ir.DataType.INT8)
    with pytest.raises(ConfigurationError, match="bytes"):
        unpack(np.zeros(2, np.uint8), [5], ir.DataType.INT4)


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(ConfigurationError, match="finite"):
        choose_qparams(0.0, np.nan, U8_AFFINE)
    with pytest.raises(ConfigurationError, match="finite"):
        choose_qparams(1.0, 0.0, U8_AFFINE)
    with pytest.raises(ConfigurationError, match="shape"):
        choose_qparams(np.zeros(2), np.zeros(3), U8_AFFINE)
    with pytest.raises(ConfigurationError, match="axis"):
        weight_qparams(np.zeros((2, 2)), S8_SYMMETRIC_PER_CHANNEL)
    with pytest.raises(ConfigurationError, match="do not fit"):
        quantize(np.zeros((3, 2)), choose_qparams(np.zeros(2), np.ones(2), U8_AFFINE, 0))


def test_dequantize_is_float32_scale_times_difference() -> None:
    data = np.arange(256, dtype=np.uint8)
    params = QParams(np.asarray(0.1, np.float32), np.asarray(77, np.int64), U8_AFFINE)
    wanted = np.float32(0.1) * (np.arange(256, dtype=np.float32) - np.float32(77))
    np.testing.assert_array_equal(dequantize(data, params), wanted)
