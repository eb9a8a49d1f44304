"""Fused conv + add overwrites the skip operand: allowed where nobody reads it afterwards.

oneDNN sums into the accumulator's own memory and gives it the output's scale (measured: in place
whenever the accumulator is channels-last). Rule E3; shown in tests/backends/torch_engines.
"""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.backends.torch_engines.kernels.island import Island
from qcompiler.backends.torch_engines.skips import VIEWING, same_shape
from qcompiler.ir.walk import is_op, sole_user

_COPYING = ("MaxPool", "Concat", "Resize")


def overwriting_objection(island: Island) -> str | None:
    """Why the skip operand of an island must not be overwritten, None if it may."""
    skip = island.residual
    dequantize = skip.producer() if skip is not None else None
    if dequantize is None or dequantize.inputs[0] is None:
        return "its skip operand is not computed here"
    if not same_shape(skip, island.core.outputs[0]):
        return "its skip operand may be broadcast"
    source = dequantize.inputs[0]
    data = island.core.inputs[0]
    own = data.producer() if data is not None else None
    if own is not None and own.inputs[0] is source:
        return "it adds its own input"
    if not _is_fresh(source):
        return "its skip operand may share memory with another value"
    graph = island.quantize.graph
    order = {node: place for place, node in enumerate(graph)} if graph is not None else {}
    end = order.get(island.quantize, -1)
    for node in _readers(source):
        if node is None or node not in order or is_op(node, *VIEWING):
            return "its skip operand is read through a view, by a body or as an output"
        if node not in island.nodes and _last_step(node, order) > end:
            return "its skip operand is read again later"
    return None


def _is_fresh(source: ir.Value) -> bool:
    """Whether the integers lie in memory of their own."""
    node = source.producer()
    if node is not None and is_op(node, "QuantizeLinear"):
        value = node.inputs[0]
        inner = value.producer() if value is not None else None
        return inner is None or not is_op(inner, *VIEWING)
    return node is not None and is_op(node, *_COPYING)


def _readers(source: ir.Value) -> list[ir.Node | None]:
    """Nodes that read the integers or a dequantized copy; None stands for a graph output."""
    found: list[ir.Node | None] = [None] if source.is_graph_output() else []
    for use in source.uses():
        if not is_op(use.node, "DequantizeLinear"):
            found.append(use.node)
            continue
        copy = use.node.outputs[0]
        found += [None] if copy.is_graph_output() else []
        found += [each.node for each in copy.uses()]
    return found


def _last_step(node: ir.Node, order: dict[ir.Node, int]) -> int:
    """Where the kernel that the node belongs to runs at the latest: its QuantizeLinear."""
    place = order[node]
    for _ in range(4):
        if is_op(node, "QuantizeLinear"):
            break
        following = sole_user(node.outputs[0])
        if following is None or following not in order:
            break
        node = following
        place = max(place, order[node])
    return place
