"""What the rules look at: Q and DQ nodes and the operands of weighted ops, in any ONNX opset.

Nothing here needs shape inference: element types follow from initializers, graph inputs, zero
points and `output_dtype`; what stays unknown breaks no rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import LINEAR
from qcompiler.ir.walk import Array, all_nodes, constant, is_constant, is_op, producer_of, rank
from qcompiler.target.explicit_qdq import COMMUTING

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_INTEGERS_ONLY = ("MaxPool",)
"""Ops that commute with DQ from int8 to float32 or fp16, not from float8 nor to bf16 (measured)."""


@dataclass(frozen=True)
class Quantization:
    """A QuantizeLinear or DequantizeLinear node with its parts named."""

    node: ir.Node

    @property
    def data(self) -> ir.Value | None:
        return self.node.inputs[0]

    @property
    def scale(self) -> ir.Value | None:
        return self.node.inputs[1] if len(self.node.inputs) > 1 else None

    @property
    def zero(self) -> ir.Value | None:
        return self.node.inputs[2] if len(self.node.inputs) > 2 else None

    @property
    def axis(self) -> int:
        return self.node.attributes.get_int("axis", 1)

    @property
    def block(self) -> int:
        """Block size; 0 for per-tensor and per-channel."""
        return self.node.attributes.get_int("block_size", 0)

    @property
    def quantizes(self) -> bool:
        return self.node.op_type == "QuantizeLinear"

    @property
    def stored_type(self) -> ir.DataType | None:
        """Element type of the quantized side; None if nothing tells it."""
        if self.zero is not None and self.zero.dtype is not None:
            return self.zero.dtype
        if not self.quantizes:
            return stored_type(self.data)
        named = self.node.attributes.get_int("output_dtype", 0)
        return ir.DataType(named) if named else ir.DataType.UINT8

    @property
    def scale_values(self) -> Array | None:
        """The scale, when it is stored in the file."""
        return constant(self.scale)

    @property
    def per_tensor(self) -> bool:
        """Whether one scale holds for the tensor (an unknown scale counts as one)."""
        values = self.scale_values
        return values is None or values.size == 1

    @property
    def holds_constant(self) -> bool:
        """Whether the quantized tensor is a weight or bias, not an activation."""
        return build_time(self.data)


@dataclass(frozen=True)
class View:
    """A model as the rules see it.

    Attributes:
        model: The ONNX model; it is not changed.
        compute_capability: SM number of the GPU meant, such as 86.
    """

    model: ir.Model
    compute_capability: int = 86

    @property
    def opset(self) -> int:
        """Version of the ONNX operator set, 0 if the model names none."""
        return self.model.opset_imports.get("", 0)

    @cached_property
    def nodes(self) -> tuple[ir.Node, ...]:
        return tuple(all_nodes(self.model))

    @cached_property
    def quantizations(self) -> tuple[Quantization, ...]:
        """Every Q and DQ."""
        return tuple(found for node in self.nodes if (found := quantization(node)))

    @cached_property
    def weighted(self) -> tuple[ir.Node, ...]:
        """Every Conv, ConvTranspose, MatMul and Gemm."""
        return tuple(node for node in self.nodes if is_op(node, *LINEAR))

    @cached_property
    def quantized(self) -> tuple[ir.Node, ...]:
        """Weighted nodes with at least one dequantized operand, so meant to be quantized."""
        return tuple(node for node in self.weighted if any(both_sides(node)))


def quantization(node: ir.Node | None) -> Quantization | None:
    """The node as a Q or DQ, None if it is neither."""
    if node is None or not is_op(node, "QuantizeLinear", "DequantizeLinear"):
        return None
    return Quantization(node)


def dequantizer(value: ir.Value | None, depth: int = 32) -> Quantization | None:
    """The DQ that feeds a value, directly or through ops that commute with it.

    An op with several data operands passes only if all have a DQ with the same scale.
    """
    producer = producer_of(value)
    found = quantization(producer)
    if found is not None:
        return None if found.quantizes else found
    if producer is not None and is_op(producer, "Cast"):
        return _behind_cast(producer)
    if producer is None or depth == 0 or not is_op(producer, *COMMUTING):
        return None
    sources = [dequantizer(each, depth - 1) for each in _data_operands(producer)]
    first = sources[0] if sources else None
    if first is None or any(each is None or not _same_scale(first, each) for each in sources):
        return None
    return None if is_op(producer, *_INTEGERS_ONLY) and not _pools(first) else first


def _behind_cast(cast: ir.Node) -> Quantization | None:
    """The DQ right in front of a Cast to a float type; two casts in a row do not fold."""
    found = quantization(cast.inputs[0].producer()) if cast.inputs[0] is not None else None
    to_float = ir.DataType(cast.attributes.get_int("to", 0)) in _FLOATS
    return found if found is not None and not found.quantizes and to_float else None


def both_sides(node: ir.Node) -> tuple[Quantization | None, Quantization | None]:
    """The DQs of the two multiplied operands of a weighted node."""
    operands = [*node.inputs, None, None]
    return dequantizer(operands[0]), dequantizer(operands[1])


def weight_axis(node: ir.Node, found: Quantization) -> int | None:
    """The channel axis of a dequantized weight as the weighted op sees it; None if unknown.

    Follows Transpose and Identity nodes between the DQ and the op.
    """
    dims = _data_rank(found)
    axis = found.axis
    if dims is not None and axis < 0:
        axis += dims
    for step in reversed(list(_path(node.inputs[1], found))):
        if is_op(step, "Transpose"):
            default = list(range(dims or 0))[::-1]
            permutation = list(step.attributes.get_ints("perm", default))
            axis = permutation.index(axis) if axis in permutation else -1
        elif not is_op(step, "Identity", "Cast"):
            return None
    return axis


def stored_type(value: ir.Value | None) -> ir.DataType | None:
    """Element type of a value, through Q and ops that only move data."""
    if value is None:
        return None
    if value.dtype is not None:
        return value.dtype
    producer = value.producer()
    found = quantization(producer)
    if found is not None:
        return found.stored_type if found.quantizes else real_type(found)
    if producer is not None and is_op(producer, "Cast"):
        return ir.DataType(producer.attributes.get_int("to", 0))
    if producer is not None and is_op(producer, *COMMUTING):
        return stored_type(_data_operands(producer)[0])
    return None


def real_type(found: Quantization) -> ir.DataType | None:
    """Element type of the float side: that of the scale, unless `output_dtype` says otherwise."""
    named = found.node.attributes.get_int("output_dtype", 0)
    if named and not found.quantizes:
        return ir.DataType(named)
    return found.scale.dtype if found.scale is not None else None


def build_time(value: ir.Value | None, depth: int = 32) -> bool:
    """Whether a value depends on initializers only, so that the builder can fold it."""
    if value is None or value.is_graph_input():
        return False
    if is_constant(value):
        return True
    producer = value.producer()
    if producer is None or depth == 0:
        return False
    operands = [each for each in producer.inputs if each is not None]
    return all(build_time(each, depth - 1) for each in operands)


def _data_operands(node: ir.Node) -> list[ir.Value | None]:
    positions = COMMUTING[node.op_type]
    if positions is None:
        return list(node.inputs)
    return [node.inputs[i] for i in positions if i < len(node.inputs)]


def _pools(found: Quantization) -> bool:
    float8 = found.stored_type is ir.DataType.FLOAT8E4M3FN
    return not float8 and real_type(found) is not ir.DataType.BFLOAT16


def _same_scale(first: Quantization, other: Quantization) -> bool:
    if first.scale is other.scale:
        return True
    one, two = first.scale_values, other.scale_values
    return one is not None and two is not None and np.array_equal(one, two)


def _path(value: ir.Value | None, found: Quantization) -> Iterator[ir.Node]:
    """The nodes from an operand back to its DQ, without the DQ."""
    node = producer_of(value)
    while node is not None and node is not found.node:
        yield node
        if is_op(node, "Cast"):
            operand = node.inputs[0]
        else:
            operand = _data_operands(node)[0] if is_op(node, *COMMUTING) else None
        node = producer_of(operand)


def _data_rank(found: Quantization) -> int | None:
    """Rank of the quantized tensor; a Q between the stored weight and the DQ does not matter."""
    value = found.data
    while value is not None and rank(value) is None:
        inner = quantization(value.producer())
        if inner is None:
            return None
        value = inner.data
    return rank(value)
