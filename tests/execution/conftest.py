"""Fixtures of the engine tests: random quantized operands, and one op run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from qcompiler.execution.integer.operand import QuantizedOperand
from qcompiler.quantization.biases import bias_scale
from qcompiler.quantization.qspace import QParams, QSpace

Array = npt.NDArray[Any]


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

    def bias(self, bias: Array, left: QParams, right: QParams) -> str:
        scale = bias_scale(left.scale, right.scale)
        zero = np.zeros(scale.shape, np.int32)
        inputs = [
            self.constant("b", bias),
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


@pytest.fixture
def random_params() -> Callable[..., QParams]:
    """(rng, space, scale=None) to per-tensor parameters."""
    return _params


@pytest.fixture
def random_operand() -> Callable[..., QuantizedOperand]:
    """(rng, shape, space, scale=None) to integers that fill the space."""
    return _operand


@pytest.fixture
def in_ort(tmp_path: Path) -> Callable[..., tuple[Array, list[str]]]:
    """Arguments of `reference` to ONNX Runtime's result and the ops of its optimized graph."""

    def run(
        op: str,
        attributes: Mapping[str, Any],
        inputs: Sequence[QuantizedOperand],
        weight: QuantizedOperand | None,
        bias: npt.NDArray[np.int32] | None,
        output: QParams,
        *,
        relu: bool = False,
    ) -> tuple[Array, list[str]]:
        build = _Builder()
        names = [build.dequantized(f"x{i}", x, feed=True) for i, x in enumerate(inputs)]
        if weight is not None:
            names.append(build.dequantized("w", weight, feed=False))
            if bias is not None:
                names.append(build.bias(bias, inputs[0].params, weight.params))
        result = build.node(op, names, "y", **attributes)
        if relu:
            result = build.node("Relu", [result], "r")
        feeds = {f"x{i}": x.data for i, x in enumerate(inputs)}
        return build.run(result, output, feeds, tmp_path)

    return run
