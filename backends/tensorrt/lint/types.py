"""Rules about operators, element types and zero points: T01–T06, T17, T19."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qcompiler.backends.tensorrt.lint.rule import Finding, Verdict
from qcompiler.backends.tensorrt.lint.view import (
    Quantization,
    View,
    both_sides,
    build_time,
    stored_type,
)
from qcompiler.ir.walk import constant, is_constant, is_op

_INTEGER_OPS = (
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
    "DynamicQuantizeLinear",
)
_UNSUPPORTED_OPS = (
    "BitShift",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "CenterCropPad",
    "Col2Im",
    "Compress",
    "CumProd",
    "DFT",
    "DeformConv",
    "Det",
    "MaxRoiPool",
    "MaxUnpool",
    "Unique",
)
_MEANT_FOR_BIAS = frozenset({ir.DataType.INT32})
_ACCEPTED = frozenset(
    {
        ir.DataType.INT8,
        ir.DataType.FLOAT8E4M3FN,
        ir.DataType.INT4,
        ir.DataType.FLOAT4E2M1,
    }
)
_EIGHT_BIT = frozenset({ir.DataType.INT8, ir.DataType.FLOAT8E4M3FN})


def integer_ops(view: View) -> Iterator[Finding]:
    """T01: operators that the parser does not know."""
    for node in view.nodes:
        if is_op(node, *_INTEGER_OPS):
            yield Finding(node, f"{node.op_type} is no explicit Q/DQ form")
        elif is_op(node, *_UNSUPPORTED_OPS):
            yield Finding(node, f"{node.op_type} is not among the parser's operators")
        elif node.domain == "com.microsoft":
            yield Finding(node, f"{node.op_type} is an operator of ONNX Runtime's own")


def integer_bias(view: View) -> Iterator[Finding]:
    """T02: DequantizeLinear of int32."""
    for found in _dequantizations(view):
        if found.stored_type in _MEANT_FOR_BIAS:
            yield Finding(found.node, "DequantizeLinear reads int32")


def data_types(view: View) -> Iterator[Finding]:
    """T03: element types other than INT8, FP8 E4M3, INT4, FP4; stored or fed uint8."""
    for found in view.quantizations:
        dtype = found.stored_type
        if dtype is None or dtype in _ACCEPTED or dtype in _MEANT_FOR_BIAS:
            continue
        if dtype is not ir.DataType.UINT8:
            yield Finding(found.node, f"quantized to {dtype.name.lower()}")
        elif not found.quantizes and _stored_or_fed(found.data):
            yield Finding(found.node, "DequantizeLinear reads a stored or fed uint8 tensor")


def unsigned_zero(view: View) -> Iterator[Finding]:
    """T04: a uint8 zero point of 0 is imported as int8."""
    for found in view.quantizations:
        values = constant(found.zero)
        if found.zero is None or found.zero.dtype is not ir.DataType.UINT8:
            continue
        if found.quantizes and values is not None and not values.any():
            yield Finding(found.node, "uint8 [0, 255] is read as int8 [-128, 127]")


def missing_zero(view: View) -> Iterator[Finding]:
    """T05: no zero point and no `output_dtype`: uint8 to ONNX, int8 to TensorRT."""
    for found in view.quantizations:
        named = "output_dtype" in found.node.attributes
        if found.quantizes and found.zero is None and not named:
            yield Finding(found.node, "no zero point: uint8 in ONNX, int8 in TensorRT")


def zero_points(view: View) -> Iterator[Finding]:
    """T06: zero points are constants and 0."""
    for found in view.quantizations:
        if found.zero is None:
            continue
        values = constant(found.zero)
        if values is None:
            if not build_time(found.zero):
                yield Finding(found.node, "the zero point is computed at run time")
        elif values.astype("float32").any():
            yield Finding(found.node, "the zero point is not 0")


def strong_typing(view: View) -> Iterator[Finding]:
    """T17: quantized tensors enter a weighted op through a DQ; both operands have one type."""
    for node in view.weighted:
        for value in node.inputs[:2]:
            dtype = stored_type(value)
            if dtype in _ACCEPTED:
                yield Finding(node, f"an operand is {dtype.name.lower()} without DequantizeLinear")
        sides = zip(node.inputs[:2], both_sides(node), strict=True)
        types = {stored_type(value) if side else None for value, side in sides}
        types.discard(None)
        if len(types) > 1:
            names = " and ".join(sorted(each.name.lower() for each in types if each))
            yield Finding(node, f"the operands are dequantized to {names}")


def mixed_types(view: View) -> Iterator[Finding]:
    """T19: activation and weight in one quantized type."""
    for node in view.quantized:
        left, right = both_sides(node)
        if left is None or right is None:
            continue
        one, two = left.stored_type, right.stored_type
        product = is_op(node, "MatMul", "Gemm")
        if {one, two} == _EIGHT_BIT:
            yield Finding(node, "int8 and float8 operands are multiplied")
        elif one in _EIGHT_BIT and two is ir.DataType.INT4:
            message = "an int4 weight beside an 8-bit activation"
            yield Finding(node, message, Verdict.ADVICE if product else Verdict.REJECTED)


def _dequantizations(view: View) -> Iterator[Quantization]:
    return (found for found in view.quantizations if not found.quantizes)


def _stored_or_fed(value: ir.Value | None) -> bool:
    return value is not None and (value.is_graph_input() or is_constant(value))
