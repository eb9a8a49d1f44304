"""OV-F8: products in integers across the axis along which a Concat joined their data.

OpenVINO quantizes the branches of such a Concat, in integers or not, with a scale for every element
of its axis, and refuses the model where the product sums over another one ("arg_shape[i -
start_axis].compatible(1)", MatMulTransformation; measured with OpenVINO 2026.4.1, graphs of rank 2
to 4: tests/backends/openvino/test_joined.py).
"""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.ir.walk import is_op, rank

_KEEPING = (
    "Relu", "MaxPool", "AveragePool", "Slice", "Split", "Gather", "Identity", "QuantizeLinear",
    "DequantizeLinear",
)  # fmt: skip
"""Ops that pass integers on and leave axes where they are."""


def is_joined_across(product: ir.Node) -> bool:
    """Whether a Concat joined an operand of the product along an axis that it does not sum over."""
    pending = [
        (value, axis)
        for index, value in enumerate(product.inputs[:2])
        if value is not None and (axis := _summed_axis(product, index)) is not None
    ]
    seen = set(pending)
    while pending:
        value, axis = pending.pop()
        node, dims = value.producer(), rank(value)
        if node is None or dims is None:
            continue
        if is_op(node, "Concat") and node.attributes.get_int("axis", 0) % dims != axis:
            return True
        at = _axis_before(node, axis)
        before = {(each, at) for each in node.inputs if each is not None and at is not None}
        pending += list(before - seen)
        seen |= before
    return False


def _summed_axis(product: ir.Node, operand: int) -> int | None:
    """The axis of this operand that the product sums over."""
    dims = rank(product.inputs[operand])
    if is_op(product, "MatMul") and dims is not None:
        return dims - 1 if operand == 0 or dims == 1 else dims - 2
    if is_op(product, "Gemm"):
        turned = product.attributes.get_int("transA" if operand == 0 else "transB", 0)
        return turned if operand else 1 - turned
    return None


def _axis_before(node: ir.Node, axis: int) -> int | None:
    """Where the axis of the node's result is in its data; None where integers do not pass."""
    if is_op(node, "Transpose"):
        order = list(node.attributes.get_ints("perm", ()))
        return order[axis] if order else (rank(node.outputs[0]) or 1) - 1 - axis
    same = rank(node.inputs[0]) == rank(node.outputs[0])
    return axis if is_op(node, "Concat") or (same and is_op(node, *_KEEPING)) else None
