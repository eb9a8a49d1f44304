"""Placed programs written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

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
