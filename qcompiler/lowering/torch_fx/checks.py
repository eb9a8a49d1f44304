"""`check_ops`: whether every node of a model can be lowered, before anything is built."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from qcompiler.errors import LoweringError
from qcompiler.ir.origin import describe
from qcompiler.ir.walk import all_nodes, is_op
from qcompiler.lowering.torch_fx.element_types import is_known
from qcompiler.lowering.torch_fx.ops.row import asks_more
from qcompiler.lowering.torch_fx.ops.table import row_of

CONTROL = ("If", "Loop", "Scan", "SequenceMap")
"""Ops with bodies."""


def check_ops(model: ir.Model) -> None:
    """`check_nodes` of a whole model."""
    check_nodes(all_nodes(model))


def check_nodes(nodes: Iterable[ir.Node]) -> None:
    """Every op has a row, which computes the form that the node asks for.

    Raises:
        LoweringError: Names each op that has none, or not this form, and the first node of it.
    """
    missing: dict[str, ir.Node] = {}
    for node in nodes:
        name = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        objection = _objection(node)
        if objection is not None:
            missing.setdefault(f"{name}{objection}", node)
    if missing:
        raise LoweringError(
            f"no torch lowering for {', '.join(sorted(missing))}",
            where="; ".join(describe(node) for node in missing.values()),
            fix="choose the target onnxruntime, or take the op out of the model",
        )


def _objection(node: ir.Node) -> str | None:
    """What of a node is not lowered, as words behind its name; empty when none of it is."""
    kind = _unknown_type(node)
    if kind is not None:
        return f" with elements of type {kind}, which torch has not"
    if is_op(node, *CONTROL, "Constant"):
        return None
    row = row_of(node)
    if row is None:
        return ""
    found = row.objection(node)
    if found is not None:
        return f" with {found}"
    if asks_more(node) and row.several is None and not row.is_tuple:
        return " with more outputs than one"
    return None


def _unknown_type(node: ir.Node) -> str | None:
    """A type of the node's values, or of what it casts to, that torch cannot hold."""
    kinds = [value.dtype for value in (*node.inputs, *node.outputs) if value is not None]
    kinds += [ir.DataType(node.attributes.get_int(name, 1)) for name in ("to",)]
    return next((k.name for k in kinds if k is not None and not is_known(k)), None)
