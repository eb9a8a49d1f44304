"""Element types of values that carry none, from the ops that compute them."""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.ir.optraits import activation_positions, traits

UP_TO_SINGLE = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
"""Floats of networks; ONNX Runtime has fewer operators in double."""
FLOATS = UP_TO_SINGLE | {ir.DataType.DOUBLE}


def element_type(value: ir.Value) -> ir.DataType | None:
    """The value's own type, or that of the activations it was computed from; None if unknown.

    In every op of the traits table the first output has the element type of the activations
    (type variable T of the ONNX operator specification).
    """
    seen: set[ir.Value] = set()
    while value.dtype is None and value not in seen:
        seen.add(value)
        node = value.producer()
        if node is None or value is not node.outputs[0] or not _is_known(node):
            return None
        positions = activation_positions(node)
        operand = node.inputs[positions[0]] if positions else None
        if operand is None:
            return None
        value = operand
    return value.dtype


def _is_known(node: ir.Node) -> bool:
    row = traits(node)
    return row.activations is None or bool(row.activations)
