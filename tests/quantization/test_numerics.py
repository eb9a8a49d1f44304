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
from qcompiler.execution.integer.operand import QuantizedOperand
from qcompiler.execution.integer.reference import reference
from qcompiler.quantization import numerics
from qcompiler.quantization.numerics import (
    SCALE_FLOOR,
    bias_range_guard,
    choose_qparams,
    dequantize,
    fake_quantize,
    qparams_of_ranges,
    quantize,
    quantize_bias,
    weight_qparams,
)
from qcompiler.quantization.packing import pack, unpack
from qcompiler.quantization.qspace import (
    S8_AFFINE,
    S8_SYMMETRIC,
    S8_SYMMETRIC_PER_CHANNEL,
    S32_BIAS,
    U8_AFFINE,
    U16_AFFINE,
    Granularity,
    QParams,
    QSpace,
    Range,
)
from qcompiler.quantization.saturation import pair_saturation

Array = npt.NDArray[Any]
S16_AFFINE = QSpace(ir.DataType.INT16, symmetric=False)
S4_GROUPS = QSpace(ir.DataType.INT4, symmetric=True, granularity=Granularity.GROUP, group_size=4)


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


def test_groups_share_a_scale() -> None:
    values = np.random.default_rng(2).standard_normal((10, 3)).astype(np.float32)
    params = weight_qparams(values, S4_GROUPS, 0)
    assert params.scale.shape == (3, 3)  # 4 + 4 + 2 rows
    wanted = np.concatenate(
        [
            fake_quantize(values[i : i + 4, j : j + 1], weight_qparams(
                values[i : i + 4, j : j + 1], QSpace(ir.DataType.INT4, symmetric=True)))
            for i in (0, 4, 8) for j in range(3)
        ]
    )  # fmt: skip
    found = fake_quantize(values, params)
    flat = np.concatenate([found[i : i + 4, j : j + 1] for i in (0, 4, 8) for j in range(3)])
    np.testing.assert_array_equal(flat, wanted)


@pytest.mark.parametrize("space", [U8_AFFINE, S8_AFFINE, S8_SYMMETRIC, U16_AFFINE])
@pytest.mark.parametrize("high", [0.0, 1e-45, 1e-38, 1e-20, 1.0, 3e37])
def test_degenerate_ranges_give_a_usable_scale(space: QSpace, high: float) -> None:
    params = choose_qparams(0.0, high, space)
    assert float(params.scale) >= SCALE_FLOOR
    assert np.isfinite(1.0 / params.scale)
    assert fake_quantize(np.zeros(1), params)[0] == 0.0


def test_a_relu_range_has_its_zero_point_at_the_bottom() -> None:
    assert int(choose_qparams(0.0, 6.0, U8_AFFINE).zero_point) == 0
    assert int(choose_qparams(0.5, 6.0, U8_AFFINE).zero_point) == 0
    assert int(choose_qparams(0.0, 6.0, S8_AFFINE).zero_point) == -128
    assert float(choose_qparams(0.0, 6.0, U8_AFFINE).scale) == np.float32(6.0 / 255.0)


def test_an_unsigned_symmetric_space_is_centred() -> None:
    params = choose_qparams(-1.0, 0.5, QSpace(ir.DataType.UINT8, symmetric=True))
    assert int(params.zero_point) == 128
    assert fake_quantize(np.asarray([-1.0]), params)[0] == -1.0


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


def _kernel_sum(x: Array, w: Array) -> Array:
    """`vpmaddubsw` + `vpmaddwd`: pairs saturate in int16, then add up in int32."""
    pairs = (x.astype(np.int64) * w.astype(np.int64)).reshape(-1, 2).sum(1)
    return np.asarray(np.clip(pairs, -32768, 32767).sum())


def test_t02_pair_saturation_is_predicted_from_the_weights() -> None:
    full, seven_bit = np.full((1, 64), 127, np.int8), np.full((1, 64), 63, np.int8)
    pair = np.asarray([[71, 107]], np.int8)
    opposite = np.asarray([[127, -127]], np.int8)
    weights = [full, seven_bit, pair, opposite]
    assert [bool(pair_saturation(w)[0]) for w in weights] == [True, False, True, False]
    assert _kernel_sum(np.asarray([211, 171]), pair) != 211 * 71 + 171 * 107
    assert round(float(_kernel_sum(np.full(64, 255), full)) / (255 * 127 * 64), 3) == 0.506
    assert not pair_saturation(full, xmax=127)[0]
    # Only the channel that can saturate is marked, whichever axis holds the channels.
    both = np.concatenate([full, seven_bit])
    np.testing.assert_array_equal(pair_saturation(both), [True, False])
    np.testing.assert_array_equal(pair_saturation(both.T, axis=1), [True, False])


def test_t02_the_predicate_is_exact() -> None:
    """It is true exactly when some activation vector makes the emulated kernel wrong."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        w = rng.integers(-128, 128, 5).astype(np.int8)
        padded = np.append(w, 0)
        worst = [np.where(padded > 0, 255, 0), np.where(padded < 0, 255, 0)]
        wrong = any(_kernel_sum(x, padded) != (x * padded.astype(int)).sum() for x in worst)
        assert bool(pair_saturation(w[None])[0]) == wrong
        if wrong:
            assert pair_saturation(w[None], adjacent=False)[0]


def test_t06_near_dead_channels_keep_their_bias() -> None:
    rng = np.random.default_rng(6)
    weight = rng.standard_normal((4, 1, 3, 3)).astype(np.float32)
    weight[1], weight[2] = 1e-12, 0.0
    bias = np.asarray([0.3, -4.5, -4.5, 0.1], np.float32)
    x = rng.standard_normal((1, 4, 8, 8)).astype(np.float32)
    input_params = choose_qparams(x.min(), x.max(), U8_AFFINE)
    plain = weight_qparams(weight, S8_SYMMETRIC_PER_CHANNEL, 0)
    guarded = bias_range_guard(bias, input_params.scale, plain)
    steps = bias.astype(np.float64) / (float(input_params.scale) * guarded.scale.astype(np.float64))
    assert np.all(np.abs(steps) <= 2**30)
    np.testing.assert_array_equal(guarded.scale[[0, 3]], plain.scale[[0, 3]])
    whole = quantize_bias(bias, input_params.scale, guarded.scale)
    operands = [QuantizedOperand.of(x, input_params)], QuantizedOperand.of(weight, guarded)
    result = reference("Conv", {"group": 4}, operands[0], operands[1], whole)
    windows = np.lib.stride_tricks.sliding_window_view(x[0], (3, 3), (1, 2))
    wanted = np.einsum("cyxij,cij->cyx", windows, weight[:, 0]) + bias[:, None, None]
    assert np.all(np.isfinite(result))
    np.testing.assert_allclose(result[0, 1:3], wanted[1:3], rtol=1e-6)
    assert np.linalg.norm(result[0] - wanted) / np.linalg.norm(wanted) < 0.02


def test_t06_without_the_guard_the_bias_saturates() -> None:
    """Negative control: a scale of 1e-12 / 127 alone does not carry the bias."""
    own = choose_qparams(np.asarray([-1e-12]), np.asarray([1e-12]), S8_SYMMETRIC_PER_CHANNEL, 0)
    bias = np.asarray([-4.5], np.float32)
    assert quantize_bias(bias, 0.02, own.scale)[0] == -(2**31)
    guarded = bias_range_guard(bias, 0.02, own)
    restored = quantize_bias(bias, 0.02, guarded.scale) * (np.float32(0.02) * guarded.scale)
    np.testing.assert_allclose(restored, bias, rtol=1e-6)


def test_the_guard_returns_parameters_that_fit_as_they_are() -> None:
    params = choose_qparams(-1.0, 1.0, S8_SYMMETRIC)
    assert bias_range_guard(np.asarray([3.0], np.float32), 0.1, params) is params
    raised = bias_range_guard(np.asarray([0.5, 1e9], np.float32), 0.1, params)
    assert raised.scale.shape == ()
    assert 1e9 / (0.1 * float(raised.scale)) <= 2**30
    with pytest.raises(ConfigurationError, match="group"):
        bias_range_guard(np.zeros(3), 0.1, weight_qparams(np.ones((4, 3)), S4_GROUPS, 0))


def test_dequantize_is_float32_scale_times_difference() -> None:
    data = np.arange(256, dtype=np.uint8)
    params = QParams(np.asarray(0.1, np.float32), np.asarray(77, np.int64), U8_AFFINE)
    wanted = np.float32(0.1) * (np.arange(256, dtype=np.float32) - np.float32(77))
    np.testing.assert_array_equal(dequantize(data, params), wanted)


def test_parameters_of_many_ranges_are_those_of_each() -> None:
    rng = np.random.default_rng(0)
    spaces = [(U8_AFFINE, S8_SYMMETRIC, U16_AFFINE)[i % 3] for i in range(300)]
    low = -rng.lognormal(0, 4, 300) * rng.integers(0, 2, 300)
    ranges = [Range(a, a + b) for a, b in zip(low, rng.lognormal(0, 4, 300), strict=True)]
    ranges[7] = Range(0.0, 0.0)
    for found, each, space in zip(qparams_of_ranges(ranges, spaces), ranges, spaces, strict=True):
        assert found.scale.shape == ()
        assert found.same_as(choose_qparams(each.low, each.high, space))
