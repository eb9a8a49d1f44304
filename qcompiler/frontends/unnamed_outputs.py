"""Outputs without a name that an operator has all the same."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx_ir as ir

from qcompiler.ir.walk import all_nodes, is_op

_OPTIONAL = onnx.defs.OpSchema.FormalParameterOption.Optional


def name_outputs(model: ir.Model) -> bool:
    """Names outputs that operators have whether they are asked for or not; whether any had none.

    ONNX Runtime refuses such nodes (TopK without indices) or dies: its kernels write parts of a
    Split and statistics of a BatchNormalization without looking who reads them.
    """
    found = False
    for node in all_nodes(model):
        trained = is_op(node, "BatchNormalization") and bool(
            node.attributes.get_int("training_mode", 0)
        )
        if trained and len(node.outputs) < 3:
            node.resize_outputs(3)
        unnamed = [value for value in node.outputs if not value.name]
        if not unnamed:
            continue
        stem = next((value.name for value in node.outputs if value.name), node.op_type)
        for value in _written(node, model.opset_imports.get("", 1)):
            if not value.name:
                value.name, found = f"{stem}_unread_{value.index()}", True
    return found


def _written(node: ir.Node, opset: int) -> Iterable[ir.Value]:
    """Outputs that are not optional by the operator's schema, or to ONNX Runtime."""
    if node.domain or not onnx.defs.has(node.op_type, opset, ""):
        return ()
    if node.op_type == "BatchNormalization":
        return node.outputs
    formal = onnx.defs.get_schema(node.op_type, opset, "").outputs
    return (
        value
        for number, value in enumerate(node.outputs)
        if formal[min(number, len(formal) - 1)].option != _OPTIONAL
    )
