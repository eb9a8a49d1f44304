"""Rule E3 on the float graph: which residual sums may become oneDNN's conv + add.

The kernel writes its result over the skip operand, so nothing may read that afterwards. The same is
checked again on the placed graph (`kernels.residual`); here it decides where a region ends.
"""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.ir.walk import is_op, sole_user

VIEWING = (
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile", "Split", "Slice",
    "Pad", "DepthToSpace", "SpaceToDepth", "Gather", "Identity",
)  # fmt: skip
"""Ops whose result may share memory with their operand."""


def may_overwrite_skip(add: ir.Node) -> bool:
    """Whether one operand of the sum is a convolution of its own, and the other is free to go."""
    pairs = [(add.inputs[i], add.inputs[1 - i]) for i in (0, 1)]
    return any(
        _is_own_conv(result, add) and _is_free(skip, result.producer(), add)
        for result, skip in pairs
        if result is not None and skip is not None
    )


def _is_own_conv(result: ir.Value, add: ir.Node) -> bool:
    return is_op(result.producer(), "Conv") and sole_user(result) is add


def _is_free(skip: ir.Value, conv: ir.Node | None, add: ir.Node) -> bool:
    if conv is None or conv.inputs[0] is skip or skip.is_graph_output():
        return False
    if is_op(skip.producer(), *VIEWING):
        return False
    graph = add.graph
    if graph is None:
        return False
    order = {node: place for place, node in enumerate(graph)}
    others = [use.node for use in skip.uses() if use.node is not add]
    return all(
        node in order and order[node] < order[conv] and not is_op(node, *VIEWING) for node in others
    )
