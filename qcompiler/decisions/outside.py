"""Why a node is in no region, in words."""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.ir.walk import is_constant
from qcompiler.target.contract import Target


def outside_reason(node: ir.Node, sizes: frozenset[ir.Value], target: Target) -> str:
    """The reason, of a node that no region of the target holds.

    Args:
        node: The node.
        sizes: The program's `size_values`.
        target: Which of its regions are meant.
    """
    if any(value in sizes for value in node.outputs):
        return "what it computes is used as a size, a position or an index, which has no scale"
    if target.capabilities.row(node.op_type) is None:
        return f"{target.name} has no integer kernel for {node.op_type}"
    if all(is_constant(value) for value in node.inputs if value is not None):
        return "it reads constants only"
    kinds = {value.dtype for value in node.inputs if value is not None and not is_constant(value)}
    if kinds and all(kind is not None and not kind.is_floating_point() for kind in kinds):
        return "it moves integers already"
    return "it has no operand that is computed in float"
