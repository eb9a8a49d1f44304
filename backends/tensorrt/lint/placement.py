"""Rules about where Q and DQ stand: T14, T15, T18, T20."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qcompiler.backends.tensorrt.lint.rule import Finding
from qcompiler.backends.tensorrt.lint.view import View, both_sides
from qcompiler.ir.walk import is_op


def weight_only_int4(view: View) -> Iterator[Finding]:
    """T14: int4 is for the weights of MatMul and Gemm."""
    for node in view.quantized:
        left, right = both_sides(node)
        if left is not None and left.stored_type is ir.DataType.INT4:
            yield Finding(node, f"its activation is int4: {left.node.name}")
        int4_weight = right is not None and right.stored_type is ir.DataType.INT4
        if int4_weight and left is None and not is_op(node, "MatMul", "Gemm"):
            yield Finding(node, f"{node.op_type} has an int4 weight")


def odd_int4(view: View) -> Iterator[Finding]:
    """T15: int4 tensors have an even last dimension, since two elements share a byte."""
    for node in view.quantized:
        right = both_sides(node)[1]
        if right is None or right.data is None or right.stored_type is not ir.DataType.INT4:
            continue
        last = right.data.shape[-1] if right.data.shape else None
        if isinstance(last, int) and last % 2:
            yield Finding(node, f"its int4 weight has an odd last dimension, {last}")


def all_operands(view: View) -> Iterator[Finding]:
    """T18: both operands of a weighted op are quantized (blocked int4 weights excepted)."""
    for node in view.quantized:
        left, right = both_sides(node)
        if left is None and right is not None and not _weight_only(right.stored_type, right.block):
            yield Finding(node, "its weight is quantized but its activation is not")
        if right is None and left is not None:
            other = "second operand" if is_op(node, "MatMul") else "weight"
            yield Finding(node, f"its activation is quantized but its {other} is not")


def deconvolution(view: View) -> Iterator[Finding]:
    """T20: ConvTranspose runs in float."""
    for node in view.quantized:
        if is_op(node, "ConvTranspose"):
            yield Finding(node, "ConvTranspose is compiled in float whatever the weight axis")


def _weight_only(dtype: ir.DataType | None, block: int) -> bool:
    """Int4 has rules of its own (T12, T14), and so have blocks."""
    return dtype is ir.DataType.INT4 or block > 0
