"""A small builder of Q/DQ graphs, for comparing the lint with NVIDIA's own builder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]
FLOAT, INT8, UINT8 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8
FLOAT8: Any = ml_dtypes.float8_e4m3fn
INT4: Any = ml_dtypes.int4
SCALE = np.float32(0.02)
ZERO = np.int8(0)


@dataclass(frozen=True)
class Case:
    """One graph and the compute capability it is built for."""

    name: str
    model: onnx.ModelProto
    compute_capability: int = 86


@dataclass
class Net:
    """Builds one small graph; values are named after the nodes that make them."""

    opset: int = 21
    seed: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def input(self, shape: Sequence[int | str], dtype: int = FLOAT, name: str = "x") -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def const(self, array: Any, stem: str = "c") -> str:
        name = f"{stem}{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op: str, *operands: str, **attributes: Any) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, list(operands), [f"{name}_out"], name=name, **attributes)
        )
        return f"{name}_out"

    def quantize(self, x: str, scale: Any = SCALE, zero: Any = ZERO) -> str:
        """Q then DQ; `zero` None omits the zero point. Scale and zero may be value names."""
        operands = [scale if isinstance(scale, str) else self.const(np.asarray(scale), "s")]
        if zero is not None:
            operands.append(zero if isinstance(zero, str) else self.const(np.asarray(zero), "z"))
        return self.add("DequantizeLinear", self.add("QuantizeLinear", x, *operands), *operands)

    def weight(
        self,
        shape: Sequence[int],
        axis: int | None = 0,
        dtype: Any = np.int8,
        *,
        stored: bool = True,
        block: int = 0,
        zero: bool = True,
        scale_rank1: bool = False,
    ) -> str:
        """A dequantized weight; `axis` None is per tensor, `block` > 0 blocked along `axis`."""
        scale = self._weight_scale(shape, axis, block)
        if scale_rank1:
            scale = scale.reshape(1)
        attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
        if block:
            attributes["block_size"] = block
        operands = [self.const(scale, "ws")]
        if zero:
            operands.append(self.const(np.zeros(scale.shape).astype(dtype), "wz"))
        if stored:
            data = self.const(self._levels(shape).astype(dtype), "w")
        else:
            real = self.random.normal(0, 0.1, shape).astype(np.float32)
            data = self.add("QuantizeLinear", self.const(real, "w"), *operands, **attributes)
        return self.add("DequantizeLinear", data, *operands, **attributes)

    def _levels(self, shape: Sequence[int]) -> Array:
        return self.random.integers(-7, 8, tuple(shape)).astype(np.float32)

    def _weight_scale(self, shape: Sequence[int], axis: int | None, block: int) -> Array:
        if axis is None:
            return np.asarray(0.01, np.float32)
        if not block:
            return np.full(shape[axis], 0.01, np.float32)
        dims = [d // block if i == axis % len(shape) else d for i, d in enumerate(shape)]
        return np.full(dims, 0.01, np.float32)

    def conv(self, x: str, w: str, bias: int | str = 0, **attributes: Any) -> str:
        extra = [bias] if isinstance(bias, str) else []
        if isinstance(bias, int) and bias:
            extra = [self.const(np.zeros(bias, np.float32), "b")]
        return self.add("Conv", x, w, *extra, **attributes)

    def model(self, *outputs: str, dtype: int = FLOAT) -> onnx.ModelProto:
        results = [helper.make_tensor_value_info(name, dtype, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "case", self.inputs, results, self.constants)
        opset = helper.make_opsetid("", self.opset)
        ir_version = 13 if self.opset > 24 else 10 if self.opset > 20 else 9
        return helper.make_model(graph, opset_imports=[opset], ir_version=ir_version)


Recipe = Callable[[Net], str]
IMAGE = (1, 16, 12, 12)
KERNEL = (16, 16, 3, 3)


def image(recipe: Recipe, opset: int = 21) -> onnx.ModelProto:
    net = Net(opset)
    net.input(IMAGE)
    return net.model(recipe(net))


def rows(recipe: Recipe, opset: int = 21) -> onnx.ModelProto:
    net = Net(opset)
    net.input((8, 64))
    return net.model(recipe(net))
