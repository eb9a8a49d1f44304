"""Constants that are computed from constants and outgrow every machine.

A chain of Concats that each read the last one twice holds 2^length times its first constant. An
engine computes such values when it loads the model, and takes all memory for it.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from qcompiler.errors import UnreadableModelError
from qcompiler.frontends.inference import stored_elements
from qcompiler.ir.walk import DRAWING, all_nodes, is_op

_MOST_ELEMENTS = 1 << 28
"""Elements of one value that files of a few kB may compute: 1 GiB in float32."""
_MOST_GROWTH = 2
"""Times the elements of all stored weights, if that is more."""


def check_growth(model: ir.Model) -> None:
    """Makes sure that what is computed from constants alone stays of a size that can be held.

    Raises:
        UnreadableModelError: A value does not; names the node.
    """
    known: dict[ir.Value, int] = {}
    stored = 0
    for graph in model.graphs():
        for value in graph.initializers.values():
            known[value] = stored_elements(value)
            stored += known[value]
    most = max(_MOST_ELEMENTS, _MOST_GROWTH * stored)
    for node in all_nodes(model):
        if any(value is not None and value not in known for value in node.inputs):
            if not _is_of_sizes(node):
                continue
        elif node.op_type in DRAWING:
            continue
        for value in node.outputs:
            known[value] = _elements(node, value, known)
            if known[value] > most:
                raise UnreadableModelError(
                    f"a constant of this model would hold {known[value]:.3g} numbers",
                    where=f"{node.op_type} '{node.name or value.name}'",
                    why="it is computed from constants alone, by an engine as soon as it loads it",
                    fix="simplify the model, or compute the value from an input",
                )


def _is_of_sizes(node: ir.Node) -> bool:
    """Shape and Size of a value with fixed sizes: constants, too."""
    value = node.inputs[0] if node.inputs else None
    fixed = value is not None and value.shape is not None and value.shape.is_static()
    return fixed and is_op(node, "Shape", "Size")


def _elements(node: ir.Node, value: ir.Value, known: dict[ir.Value, int]) -> int:
    """By its shape, or by its operands: a shape of more than 64 bits is not inferred."""
    if value.shape is not None and value.shape.is_static():
        return math.prod(dim for dim in value.shape if isinstance(dim, int))
    counts = [known.get(each, 0) for each in node.inputs if each is not None]
    return sum(counts) if is_op(node, "Concat") else max(counts, default=1)
