"""The integer reference against ONNX Runtime: bit-equal on Q/DQ models that it runs in integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from qcompiler.execution.integer.operand import QuantizedOperand
from qcompiler.execution.integer.reference import reference
from qcompiler.quantization.numerics import bias_scale, dequantize, quantize, quantize_bias
from qcompiler.quantization.qspace import (
    S8_AFFINE,
    S8_SYMMETRIC,
    S8_SYMMETRIC_PER_CHANNEL,
    U8_AFFINE,
    QParams,
    QSpace,
)

Array = npt.NDArray[Any]
SPACES = pytest.mark.parametrize("space", [U8_AFFINE, S8_AFFINE], ids=["u8", "s8"])


@dataclass(frozen=True)
class Case:
    """One op with quantized operands, for both ONNX Runtime and the reference."""

    op: str
    attributes: Mapping[str, Any]
    inputs: Sequence[QuantizedOperand]
    output: QParams
    weight: QuantizedOperand | None = None
    bias: npt.NDArray[np.int32] | None = None
    relu: bool = False

    def by_reference(self) -> Array:
        return reference(
            self.op,
            self.attributes,
            self.inputs,
            self.weight,
            self.bias,
            self.output,
            relu=self.relu,
        )

    def by_runtime(self, folder: Path) -> tuple[Array, list[str]]:
        """ONNX Runtime's result with default options, and the ops of its optimized graph."""
        build = _Builder()
        names = [build.dequantized(f"x{i}", x, feed=True) for i, x in enumerate(self.inputs)]
        if self.weight is not None:
            names.append(build.dequantized("w", self.weight, feed=False))
        if self.bias is not None:
            names.append(build.bias(self))
        result = build.node(self.op, names, "y", **self.attributes)
        if self.relu:
            result = build.node("Relu", [result], "r")
        return build.run(
            result, self.output, {f"x{i}": x.data for i, x in enumerate(self.inputs)}, folder
        )


class _Builder:
    """Collects the parts of a Q/DQ model."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.feeds: list[onnx.ValueInfoProto] = []

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, array: Array) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def params(self, name: str, params: QParams) -> list[str]:
        zero = params.zero_point.astype(params.space.dtype.numpy())
        return [self.constant(f"{name}_s", params.scale), self.constant(f"{name}_z", zero)]

    def dequantized(self, name: str, operand: QuantizedOperand, *, feed: bool) -> str:
        if feed:
            kind = helper.np_dtype_to_tensor_dtype(operand.data.dtype)
            self.feeds.append(helper.make_tensor_value_info(name, kind, operand.data.shape))
        else:
            self.constant(name, operand.data)
        axis = {} if operand.params.axis is None else {"axis": operand.params.axis}
        inputs = [name, *self.params(name, operand.params)]
        return self.node("DequantizeLinear", inputs, f"{name}_d", **axis)

    def bias(self, case: Case) -> str:
        assert case.weight is not None
        assert case.bias is not None
        scale = bias_scale(case.inputs[0].params.scale, case.weight.params.scale)
        zero = np.zeros(scale.shape, np.int32)
        inputs = [
            self.constant("b", case.bias),
            self.constant("b_s", scale),
            self.constant("b_z", zero),
        ]
        return self.node("DequantizeLinear", inputs, "b_d", **({"axis": 0} if scale.ndim else {}))

    def run(
        self, result: str, output: QParams, feeds: dict[str, Array], folder: Path
    ) -> tuple[Array, list[str]]:
        self.node("QuantizeLinear", [result, *self.params("q", output)], "out")
        kind = int(output.space.dtype)
        ends = [helper.make_tensor_value_info("out", kind, None)]
        graph = helper.make_graph(self.nodes, "case", self.feeds, ends, self.constants)
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=9)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(folder / "optimized.onnx")
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        if output.space.signed:  # by default ORT keeps Conv and MatMul of s8 operands in float
            options.add_session_config_entry("session.qdqisint8allowed", "1")
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        ops = [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]
        return np.asarray(session.run(None, feeds)[0]), ops


def _params(rng: np.random.Generator, space: QSpace, scale: float | None = None) -> QParams:
    step = 10 ** rng.uniform(-3, 0) if scale is None else scale
    zero = rng.integers(space.qmin, space.qmax, endpoint=True)
    return QParams(np.asarray(step, np.float32), np.asarray(zero, np.int64), space)


def _operand(
    rng: np.random.Generator, shape: Sequence[int], space: QSpace, scale: float | None = None
) -> QuantizedOperand:
    data = rng.integers(space.qmin, space.qmax, tuple(shape), endpoint=True)
    return QuantizedOperand(data.astype(space.dtype.numpy()), _params(rng, space, scale))


def _weight(rng: np.random.Generator, shape: Sequence[int], axis: int | None) -> QuantizedOperand:
    space = S8_SYMMETRIC if axis is None else S8_SYMMETRIC_PER_CHANNEL
    count = () if axis is None else (shape[axis],)
    scale = (10 ** rng.uniform(-3, -2, count)).astype(np.float32)
    params = QParams(np.asarray(scale), np.zeros(count, np.int64), space, axis)
    return QuantizedOperand(rng.integers(-127, 128, tuple(shape)).astype(np.int8), params)


def _weighted(
    rng: np.random.Generator,
    op: str,
    shape: Sequence[int],
    weight: QuantizedOperand,
    space: QSpace,
    *,
    reduction: int,
    channels: int | None,
    relu: bool = False,
    **attributes: Any,
) -> Case:
    """An output scale that uses the range, a bias of the size of the sums."""
    x = _operand(rng, shape, space)
    spread = 74.0 * 73.0 * np.sqrt(reduction)
    bias = None
    if channels is not None:
        bias = rng.integers(-spread, spread, channels).astype(np.int32)
    step = float(x.params.scale) * float(weight.params.scale.mean()) * spread / 50.0
    output = _params(rng, space, step)
    if relu:
        output = QParams(output.scale, np.asarray(space.qmin, np.int64), space)
    return Case(op, attributes, [x], output, weight, bias, relu)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1d": ((2, 5, 17), (7, 5, 3), {"pads": [1, 1]}),
    "dense": ((2, 8, 9, 11), (6, 8, 3, 3), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    "pointwise": ((1, 33, 5, 5), (18, 33, 1, 1), {}),
    "dilated": ((1, 4, 13, 13), (4, 4, 3, 3), {"dilations": [2, 3], "pads": [2, 2, 2, 2]}),
    "grouped": ((1, 12, 7, 7), (6, 4, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
    "depthwise": ((2, 16, 8, 8), (16, 1, 3, 3), {"group": 16, "strides": [2, 2]}),
    "3d": ((1, 3, 5, 6, 7), (4, 3, 2, 3, 3), {"pads": [0, 1, 1, 1, 1, 1]}),
}


@SPACES
@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("per_channel", [False, True])
def test_conv_is_bit_equal(name: str, per_channel: bool, space: QSpace, tmp_path: Path) -> None:
    shape, kernel, attributes = CONVOLUTIONS[name]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        weight = _weight(rng, kernel, 0 if per_channel else None)
        reduction = int(np.prod(kernel[1:]))
        case = _weighted(
            rng,
            "Conv",
            shape,
            weight,
            space,
            reduction=reduction,
            channels=None if seed == 2 else kernel[0],
            relu=seed == 1,
            **attributes,
        )
        found, ops = case.by_runtime(tmp_path)
        assert "QLinearConv" in ops
        assert "Conv" not in ops
        np.testing.assert_array_equal(case.by_reference(), found)


@SPACES
@pytest.mark.parametrize("axis", [None, 1])
def test_matmul_is_bit_equal(axis: int | None, space: QSpace, tmp_path: Path) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        weight = _weight(rng, (67, 31), axis)
        case = _weighted(rng, "MatMul", (2, 9, 67), weight, space, reduction=67, channels=None)
        found, ops = case.by_runtime(tmp_path)
        assert "QLinearMatMul" in ops
        np.testing.assert_array_equal(case.by_reference(), found)


@SPACES
def test_matmul_of_two_activations_is_bit_equal(space: QSpace, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    left, right = _operand(rng, (3, 8, 20), space, 0.02), _operand(rng, (3, 20, 6), space, 0.03)
    case = Case("MatMul", {}, [left, right], _params(rng, space, 0.02 * 0.03 * 400))
    found, ops = case.by_runtime(tmp_path)
    assert "QLinearMatMul" in ops
    np.testing.assert_array_equal(case.by_reference(), found)


@SPACES
@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("per_channel", [False, True])
def test_gemm_is_bit_equal(
    transposed: int, per_channel: bool, space: QSpace, tmp_path: Path
) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        shape = (13, 65) if transposed else (65, 13)
        weight = _weight(rng, shape, (1 - transposed) if per_channel else None)
        case = _weighted(
            rng, "Gemm", (5, 65), weight, space, reduction=65, channels=13, transB=transposed
        )
        found, ops = case.by_runtime(tmp_path)
        assert "QGemm" in ops
        np.testing.assert_array_equal(case.by_reference(), found)


BROADCASTS = [
    ((2, 30, 41), (2, 30, 41)),
    ((2, 30, 41), (1, 30, 1)),
    ((1, 30, 1), (2, 30, 41)),
    ((2, 3, 8, 8), (2, 3, 1, 1)),
    ((2, 3, 1, 1), (2, 3, 8, 8)),
    ((7, 41), (41,)),
]


@SPACES
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
def test_add_and_mul_are_bit_equal_with_ties(
    op: str, shapes: tuple[tuple[int, ...], tuple[int, ...]], space: QSpace, tmp_path: Path
) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        first = _operand(rng, shapes[0], space)
        step = float(first.params.scale) * float(rng.choice([0.25, 0.5, 1.0, 0.77]))
        second = _operand(rng, shapes[1], space, step)
        product = float(first.params.scale * second.params.scale) * 64.0
        wanted = 2.0 * float(first.params.scale) if op == "Add" else product
        case = Case(op, {}, [first, second], _params(rng, space, wanted))
        found, ops = case.by_runtime(tmp_path)
        assert f"QLinear{op}" in ops
        np.testing.assert_array_equal(case.by_reference(), found)


@SPACES
def test_concat_is_bit_equal(space: QSpace, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    parts = [_operand(rng, (2, n, 6), space, s) for n, s in ((3, 0.01), (4, 0.5), (1, 0.02))]
    case = Case("Concat", {"axis": 1}, parts, _params(rng, space, 0.04))
    found, ops = case.by_runtime(tmp_path)
    assert "QLinearConcat" in ops
    np.testing.assert_array_equal(case.by_reference(), found)


TABLES: list[tuple[str, dict[str, Any], float | None]] = [
    ("Sigmoid", {}, 1 / 256),
    ("Sigmoid", {}, 1 / 255),
    ("LeakyRelu", {"alpha": 0.1}, None),
    ("LeakyRelu", {"alpha": 0.25}, None),
]


@SPACES
@pytest.mark.parametrize(("op", "attributes", "scale"), TABLES)
def test_tables_are_bit_equal(
    op: str, attributes: dict[str, Any], scale: float | None, space: QSpace, tmp_path: Path
) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = _operand(rng, (4, 256), space)
        output = _params(rng, space, float(x.params.scale) / 2 if scale is None else scale)
        case = Case(op, attributes, [x], output)
        found, ops = case.by_runtime(tmp_path)
        assert f"QLinear{op}" in ops
        np.testing.assert_array_equal(case.by_reference(), found)


@SPACES
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("scale", [1 / 256, 1 / 255, 1 / 100])
def test_softmax_is_bit_equal(axis: int, scale: float, space: QSpace, tmp_path: Path) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x = _operand(rng, (2, 12, 40), space, float(10 ** rng.uniform(-2.5, -0.5)))
        bottom = np.asarray(space.qmin, np.int64)
        case = Case(
            "Softmax", {"axis": axis}, [x], QParams(np.asarray(scale, np.float32), bottom, space)
        )
        found, ops = case.by_runtime(tmp_path)
        assert "QLinearSoftmax" in ops
        np.testing.assert_array_equal(case.by_reference(), found)


POOLS: list[tuple[str, dict[str, Any]]] = [
    ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1}),
    ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("GlobalAveragePool", {}),
]


@SPACES
@pytest.mark.parametrize(("op", "attributes"), POOLS)
@pytest.mark.parametrize("factor", [1.0, 0.5, 2.0, 0.3])
def test_average_pools_are_bit_equal(
    op: str, attributes: dict[str, Any], factor: float, space: QSpace, tmp_path: Path
) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = _operand(rng, (2, 5, 8, 10), space)
        case = Case(op, attributes, [x], _params(rng, space, float(x.params.scale) * factor))
        found, ops = case.by_runtime(tmp_path)
        assert f"QLinear{op}" in ops
        np.testing.assert_array_equal(case.by_reference(), found)


@SPACES
@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [2, 3], "dilations": [2, 1], "ceil_mode": 1, "strides": [2, 2]},
    ],
)
def test_max_pool_runs_on_integers(
    attributes: dict[str, Any], space: QSpace, tmp_path: Path
) -> None:
    x = _operand(np.random.default_rng(2), (2, 5, 9, 10), space)
    case = Case("MaxPool", attributes, [x], x.params)
    found, ops = case.by_runtime(tmp_path)
    assert "DequantizeLinear" not in ops
    np.testing.assert_array_equal(case.by_reference(), found)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        {"strides": [3, 2], "dilations": [1, 2]},
        {"group": 2, "pads": [2, 1, 0, 1]},
    ],
)
def test_conv_transpose_agrees_with_the_float_kernel(
    attributes: dict[str, Any], tmp_path: Path
) -> None:
    """ORT runs it in float: float32 sums of exact products may fall on the other side of a tie."""
    rng = np.random.default_rng(3)
    weight = _weight(rng, (6, 4, 3, 3), None)
    channels = 4 * int(attributes.get("group", 1))
    case = _weighted(
        rng, "ConvTranspose", (2, 6, 5, 7), weight, U8_AFFINE, reduction=14, channels=channels,
        **attributes,
    )  # fmt: skip
    found, ops = case.by_runtime(tmp_path)
    assert "ConvTranspose" in ops
    difference = np.abs(case.by_reference().astype(int) - found.astype(int))
    assert difference.max() <= 1
    assert np.mean(difference != 0) < 0.002


def test_another_rounding_mode_is_detected(tmp_path: Path) -> None:
    """Negative control: half away from zero instead of half to even is seen by the comparison."""
    rng = np.random.default_rng(0)
    x = _operand(rng, (4, 64), U8_AFFINE, 0.5)
    weight = QuantizedOperand(
        (2 * rng.integers(-9, 9, (64, 8)) + 1).astype(np.int8),
        QParams(np.asarray(0.25, np.float32), np.asarray(0, np.int64), S8_SYMMETRIC),
    )
    output = QParams(np.asarray(32.0, np.float32), np.asarray(128, np.int64), U8_AFFINE)
    case = Case("MatMul", {}, [x], output, weight)
    found, _ = case.by_runtime(tmp_path)
    np.testing.assert_array_equal(case.by_reference(), found)
    sums = x.centred @ weight.centred / 256.0
    away = np.clip(np.sign(sums) * np.floor(np.abs(sums) + 0.5) + 128, 0, 255)
    assert np.any(away != found)


def test_rounding_before_the_zero_point_is_detected(tmp_path: Path) -> None:
    """Negative control: Q(DQ(a) + DQ(b)) is not what QLinearAdd computes on ties."""
    rng = np.random.default_rng(0)
    space = U8_AFFINE
    one = QParams(np.asarray(0.5, np.float32), np.asarray(3, np.int64), space)
    output = QParams(np.asarray(1.0, np.float32), np.asarray(5, np.int64), space)
    data = [rng.integers(0, 100, (50, 40)).astype(np.uint8) for _ in range(2)]
    case = Case("Add", {}, [QuantizedOperand(item, one) for item in data], output)
    found, _ = case.by_runtime(tmp_path)
    np.testing.assert_array_equal(case.by_reference(), found)
    simulated = quantize(dequantize(data[0], one) + dequantize(data[1], one), output)
    assert np.any(simulated != found)


def test_a_float_bias_becomes_accumulator_steps() -> None:
    rng = np.random.default_rng(4)
    weight = _weight(rng, (6, 4), 1)
    x = _operand(rng, (3, 6), U8_AFFINE, 0.02)
    bias = rng.standard_normal(4).astype(np.float32)
    whole = quantize_bias(bias, x.params.scale, weight.params.scale)
    output = _params(rng, U8_AFFINE, 0.1)
    given = reference("Gemm", {}, [x], weight, whole, output)
    np.testing.assert_array_equal(reference("Gemm", {}, [x], weight, bias, output), given)
