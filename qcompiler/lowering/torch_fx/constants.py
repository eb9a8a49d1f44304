"""Constants of a placed program: float arrays, and integer weights behind Q/DQ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.walk import constant, is_op

Array = npt.NDArray[Any]
_BYTES = (ir.DataType.UINT8, ir.DataType.INT8)


@dataclass(frozen=True, eq=False)
class Levels:
    """Per-tensor scale and zero point of an 8-bit activation.

    torch's kernels take unsigned activations only; signed ones become unsigned with the zero point
    128 higher, which is the same real value.

    Attributes:
        scale: Real step.
        zero_point: In the unsigned form.
        signed: Whether the ONNX value is int8.
    """

    scale: float
    zero_point: int
    signed: bool = False

    def same_as(self, other: Levels) -> bool:
        """Equal real values for equal unsigned integers."""
        return (self.scale, self.zero_point) == (other.scale, other.zero_point)

    def quantize(self, real: float) -> int:
        """The unsigned integer of a real value, not yet clamped."""
        steps = float(np.rint(np.float32(real) / np.float32(self.scale)))
        return int(min(max(steps, -1e6), 1e6)) + self.zero_point


@dataclass(frozen=True, eq=False)
class IntegerWeight:
    """A weight in int8.

    Attributes:
        values: int8.
        scale: float32, () or [channels].
        zero_point: int64, same shape.
        axis: Channel axis of `values`.
    """

    values: Array
    scale: Array
    zero_point: Array
    axis: int

    def transposed(self) -> IntegerWeight:
        """The weight of a matrix turned over."""
        return IntegerWeight(self.values.T, self.scale, self.zero_point, 1 - self.axis)


def levels_of(node: ir.Node) -> Levels | None:
    """Levels of a QuantizeLinear or DequantizeLinear; None unless 8 bit, per tensor, constant."""
    scale = array_of(node.inputs[1])
    zero = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
    dtype = (node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]).dtype  # type: ignore[union-attr]
    if zero is not None:
        dtype = ir.DataType.from_numpy(zero.dtype)
    elif node.op_type == "QuantizeLinear":
        dtype = ir.DataType(node.attributes.get_int("output_dtype", 0) or ir.DataType.UINT8)
    if scale is None or scale.size != 1 or dtype not in _BYTES:
        return None
    if scale.dtype != np.float32 or (zero is not None and zero.size != 1):
        return None
    if zero is None and len(node.inputs) > 2 and node.inputs[2] is not None:
        return None
    signed = dtype == ir.DataType.INT8
    point = int(zero.reshape(())) if zero is not None else 0
    return Levels(float(scale.reshape(())), point + 128 * signed, signed)


def array_of(value: ir.Value | None) -> Array | None:
    """The value as numpy if it is constant; looks through Q, DQ, Transpose, Identity."""
    known = constant(value)
    if known is not None or value is None or value.is_graph_input():
        return known
    node = value.producer()
    if node is None:
        return None
    if is_op(node, "DequantizeLinear"):
        return _dequantized(node)
    if is_op(node, "QuantizeLinear"):
        return _quantized(node)
    if is_op(node, "Transpose", "Identity"):
        source = array_of(node.inputs[0])
        perm = node.attributes.get_ints("perm", ())
        if source is None or node.op_type == "Identity":
            return source
        return source.transpose(perm or None)
    return None


def weight_of(value: ir.Value | None) -> IntegerWeight | None:
    """The int8 weight behind a DequantizeLinear (or a Transpose of it); None for other values.

    uint8 weights are moved to int8 with the zero point 128 lower.
    """
    node = value.producer() if value is not None else None
    if node is None:
        return None
    if is_op(node, "Transpose") and list(node.attributes.get_ints("perm", (1, 0))) == [1, 0]:
        inner = weight_of(node.inputs[0])
        return None if inner is None or inner.values.ndim != 2 else inner.transposed()
    if not is_op(node, "DequantizeLinear") or (node.attributes.get_int("block_size") or 0) > 0:
        return None
    values, scale = array_of(node.inputs[0]), array_of(node.inputs[1])
    if values is None or scale is None or values.dtype not in (np.int8, np.uint8):
        return None
    zero = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if zero is None:
        zero = np.zeros(scale.shape, values.dtype)
    points = zero.astype(np.int64)
    if values.dtype == np.uint8:
        values, points = (values.astype(np.int16) - 128).astype(np.int8), points - 128
    axis = node.attributes.get_int("axis", 1) % max(values.ndim, 1)
    if scale.size == 1 and scale.ndim and values.shape[axis] != 1:
        scale, points = scale.reshape(()), points.reshape(())
    return IntegerWeight(values, scale.astype(np.float32), points, axis)


def _parameters(node: ir.Node, rank: int) -> tuple[Array, Array] | None:
    scale = array_of(node.inputs[1])
    zero = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if scale is None or (node.attributes.get_int("block_size") or 0) > 0:
        return None
    zero = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    if scale.size == 1:
        return scale.reshape(()), zero.reshape(())
    axis = node.attributes.get_int("axis", 1) % rank
    shape = [-1 if i == axis else 1 for i in range(rank)]
    return scale.reshape(shape), zero.reshape(shape)


def _dequantized(node: ir.Node) -> Array | None:
    values = array_of(node.inputs[0])
    parameters = _parameters(node, values.ndim) if values is not None else None
    if values is None or parameters is None:
        return None
    scale, zero = parameters
    real: Array = (values.astype(np.int64) - zero).astype(scale.dtype) * scale
    return real


def _quantized(node: ir.Node) -> Array | None:
    values = array_of(node.inputs[0])
    parameters = _parameters(node, values.ndim) if values is not None else None
    if values is None or parameters is None:
        return None
    zero_value = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
    dtype = np.dtype(np.uint8) if zero_value is None else zero_value.dtype
    if dtype.kind not in "iu" or dtype.itemsize > 2:
        return None
    scale, zero = parameters
    limits = np.iinfo(dtype)
    steps = np.rint(values / scale).astype(np.float64) + zero
    quantized: Array = np.clip(steps, limits.min, limits.max).astype(dtype)
    return quantized
