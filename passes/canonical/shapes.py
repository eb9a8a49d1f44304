"""Shapes known better: inference again, once folding has made constants of what shapes hang on."""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.frontends.inference import infer_types
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes

_INVENTED = "unk__"
"""Prefix of the symbols that ONNX's shape inference makes up for dimensions it cannot compute."""


def refresh_shapes(program: Program) -> None:
    """Infers anew every shape with an invented dimension; a shape is never lost. O(nodes).

    Only annotations change, so this is no edit of the program.
    """
    vague = {
        value: value.shape
        for node in all_nodes(program.model)
        for value in node.outputs
        if not value.is_graph_output() and _is_vague(value.shape)
    }
    for value in vague:
        value.shape = None
    infer_types(program.model)
    for value, shape in vague.items():
        if value.shape is None:
            value.shape = shape


def _is_vague(shape: ir.Shape | None) -> bool:
    return shape is not None and any(
        not isinstance(dim, int) and (dim.value is None or str(dim.value).startswith(_INVENTED))
        for dim in shape
    )
