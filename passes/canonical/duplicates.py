"""Common subexpressions: nodes that compute the same from the same are one."""

from __future__ import annotations

from collections.abc import Hashable

import onnx_ir as ir

from qcompiler.ir.kept import is_kept_float
from qcompiler.ir.optraits import traits
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_graphs, bodies

_SMALL_ELEMENTS = 16
_PURE = frozenset("Shape Size Cast Range ConstantOfShape Equal Less Greater Not And Or".split())
"""Ops without a row among the traits that depend on their operands only."""
_ATTRIBUTES = frozenset({
    ir.AttributeType.INT, ir.AttributeType.FLOAT, ir.AttributeType.STRING,
    ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS,
})  # fmt: skip


def merge_duplicates(program: Program, rewriter: Rewriter) -> int:
    """Merges equal nodes of one graph; returns how many went.

    A node that produces a graph output stays, and so does every op that is not known to depend on
    its operands only. Small constants count as equal by value, large ones by identity. Until
    BatchNormalizations are folded, ops with weights stay apart: two that are equal may be followed
    by different ones, and neither could be folded into what both share. O(nodes).
    """
    merged = 0
    folded = Property.BN_FOLDED in program.properties
    for graph in all_graphs(program.model):
        seen: dict[Hashable, ir.Node] = {}
        constants: dict[int, Hashable] = {}
        for node in tuple(graph):
            key = _key(node, constants)
            if key is None or not (folded or traits(node).weight is None):
                continue
            first = seen.setdefault(key, node)
            if first is not node and not any(out.is_graph_output() for out in node.outputs):
                for old, new in zip(node.outputs, first.outputs, strict=True):
                    rewriter.replace_uses(old, new)
                rewriter.erase(node)
                merged += 1
    return merged


def _key(node: ir.Node, constants: dict[int, Hashable]) -> Hashable | None:
    known = traits(node).activations != () or (node.op_type in _PURE and node.domain == "")
    if not known or any(True for _ in bodies(node)):
        return None
    attributes = []
    for name, attribute in sorted(node.attributes.items()):
        if attribute.type not in _ATTRIBUTES:
            return None
        value = attribute.value
        attributes.append((name, tuple(value) if isinstance(value, list) else value))
    operands = tuple(_identity(operand, constants) for operand in node.inputs)
    there = tuple(bool(output.name) for output in node.outputs)
    return (node.op_identifier(), there, is_kept_float(node), operands, tuple(attributes))


def _identity(value: ir.Value | None, constants: dict[int, Hashable]) -> Hashable:
    tensor = None if value is None or value.is_graph_input() else value.const_value
    if tensor is None or tensor.size > _SMALL_ELEMENTS or tensor.dtype is ir.DataType.STRING:
        return id(value)
    if id(value) not in constants:
        array = tensor.numpy()
        constants[id(value)] = (tensor.dtype, tuple(array.shape), array.tobytes())
    return constants[id(value)]
