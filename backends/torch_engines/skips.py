"""Rule E3 on the float graph: which residual sums may become oneDNN's conv + add.

The kernel writes its result over the skip operand, so nothing may read that afterwards. The same is
checked again on the placed graph (`kernels.residual`); here it decides where a region ends.
"""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.ir.walk import is_op, sole_user, uses

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


def same_shape(a: ir.Value | None, b: ir.Value | None) -> bool:
    """Whether two values are known to have one shape, so that neither is broadcast to the other.

    The kernel writes as many elements as the convolution has, whatever the skip operand holds.
    """
    sizes = [_sizes(each) for each in (a, b)]
    return sizes[0] is not None and sizes[0] == sizes[1] and None not in sizes[0]


def _sizes(value: ir.Value | None) -> list[int | str | None] | None:
    if value is None or value.shape is None:
        return None
    return [dim if isinstance(dim, int) else dim.value for dim in value.shape]


def _is_own_conv(result: ir.Value, add: ir.Node) -> bool:
    return is_op(result.producer(), "Conv") and sole_user(result) is add


def _is_free(skip: ir.Value, conv: ir.Node | None, add: ir.Node) -> bool:
    if conv is None or conv.inputs[0] is skip or skip.is_graph_output():
        return False
    if not same_shape(skip, conv.outputs[0]):
        return False
    if is_op(skip.producer(), *VIEWING):
        return False
    graph = add.graph
    if graph is None:
        return False
    order = {node: place for place, node in enumerate(graph)}
    others = [node for node, _ in uses(skip) if node is not add]
    return all(
        node in order and order[node] < order[conv] and not is_op(node, *VIEWING) for node in others
    )
