"""Placed programs written by hand, and the integer oracle in numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.backends.torch_engines.lowering import lower
from qcompiler.frontends.onnx_file import program_from_proto
from qcompiler.ir.program import Program

Build = Callable[..., Program]


class QdqBuilder:
    """Writes a Q/DQ graph node by node; every method returns the new value's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"

    def input(self, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> str:
        name = self.name("x")
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def constant(self, array: Any, stem: str = "c") -> str:
        name = self.name(stem)
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [self.name(op.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0]

    def quantize(self, x: str, scale: float, zero: int, dtype: Any = np.uint8) -> str:
        s, z = self.constant(np.float32(scale)), self.constant(dtype(zero))
        return self.node("QuantizeLinear", x, s, z)

    def dequantize(self, x: str, scale: float, zero: int, dtype: Any = np.uint8) -> str:
        s, z = self.constant(np.float32(scale)), self.constant(dtype(zero))
        return self.node("DequantizeLinear", x, s, z)

    def pair(self, x: str, scale: float, zero: int, dtype: Any = np.uint8) -> str:
        return self.dequantize(self.quantize(x, scale, zero, dtype), scale, zero, dtype)

    def weight(self, values: Any, scale: Any, axis: int = 0) -> str:
        scales = np.asarray(scale, np.float32)
        zeros = np.zeros(scales.shape, np.asarray(values).dtype)
        parts = [self.constant(values, "w"), self.constant(scales), self.constant(zeros)]
        return self.node("DequantizeLinear", *parts, axis=axis)

    def bias(self, values: Any, scale: Any) -> str:
        scales = np.asarray(scale, np.float32)
        parts = [self.constant(np.asarray(values, np.int32), "b"), self.constant(scales)]
        return self.node("DequantizeLinear", *parts, axis=0)

    def model(self, *outputs: str, dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
        ends = [helper.make_tensor_value_info(name, dtype, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "g", self.inputs, ends, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)

    def program(self, *outputs: str, dtype: int = TensorProto.FLOAT) -> Program:
        return program_from_proto(self.model(*outputs, dtype=dtype))


@pytest.fixture
def qdq() -> Callable[[], QdqBuilder]:
    return QdqBuilder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261122)


@pytest.fixture
def row_agrees() -> Callable[..., None]:
    """(op, operands, attributes, constants stored?): fails unless the row computes the oracle's."""

    def check(op: str, operands: Sequence[Any], attributes: dict[str, Any], stored: bool) -> None:
        model, feed = _model(op, operands, attributes, stored)
        expected = _oracle(model, feed)
        lowered = lower(program_from_proto(model).model, Setting("fbgemm"))
        with torch.no_grad():
            got = lowered.module(*(torch.from_numpy(np.array(each)) for each in feed.values()))
        assert len(got) == len(expected)
        for ours, theirs in zip(got, expected, strict=True):
            assert ours.shape == np.shape(theirs)
            assert ours.numpy().dtype == np.asarray(theirs).dtype
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=2e-5, atol=2e-5)

    return check


@pytest.fixture
def one_node() -> Callable[..., Any]:
    """(op, operands, attributes, constants stored?) to a one-node model and its feed."""
    return _model


def _model(
    op: str, operands: Sequence[Any], attributes: dict[str, Any], constant: bool
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    names = [f"in{i}" if each is not None else "" for i, each in enumerate(operands)]
    given = {n: np.asarray(each) for n, each in zip(names, operands, strict=True) if n}
    fed = {n: each for n, each in given.items() if not constant or n == "in0"}
    stored = [numpy_helper.from_array(given[n], n) for n in given if n not in fed]
    options = {key: value for key, value in attributes.items() if key != "outputs"}
    outputs = [f"out{i}" for i in range(attributes.get("outputs", 1))]
    node = helper.make_node(op, names, outputs, **options)
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in fed.items()
    ]
    ends = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([node], "g", inputs, ends, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return model, fed


def _oracle(model: onnx.ModelProto, feed: dict[str, Any]) -> list[Any]:
    """ONNX Runtime where it has the kernel, else ONNX's own reference evaluator."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        typed = onnx.shape_inference.infer_shapes(model)
        session = ort.InferenceSession(typed.SerializeToString(), options)
        return list(session.run(None, feed))
    except Exception:  # noqa: BLE001 - ORT has no kernel; the reference decides
        return list(ReferenceEvaluator(model).run(None, feed))
