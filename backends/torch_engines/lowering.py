"""Lowering: a placed `Program` becomes an `fx.GraphModule` of quantized and float torch calls.

The graph is walked once. Quantized islands become one integer call each; data movement on integers
stays on torch's quantized tensors; every other node is a float call from `ops.table`. A
DequantizeLinear costs nothing until something reads it in float.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import fx

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.element_types import is_known
from qcompiler.backends.torch_engines.graph_lowering import CONTROL, GraphLowering, Held, Record
from qcompiler.backends.torch_engines.kernels.island import (
    Setting,
)
from qcompiler.backends.torch_engines.ops.row import asks_more
from qcompiler.backends.torch_engines.ops.table import row_of
from qcompiler.errors import LoweringError
from qcompiler.ir.origin import describe
from qcompiler.ir.walk import all_nodes, is_op
from qcompiler.target.contract import KernelCount


@dataclass(frozen=True)
class Lowered:
    """A lowered graph.

    Attributes:
        module: Takes the inputs in order, gives a tuple of outputs.
        kernels: What it runs, integer calls by region key.
        held: Where it computes the values of the main graph.
    """

    module: fx.GraphModule
    kernels: KernelCount
    held: Mapping[str, Held]


def lower(model: ir.Model, setting: Setting) -> Lowered:
    """Lowers a model; islands that break a rule of `setting` run in float.

    Raises:
        LoweringError: Ops without a row (all of them are named), or the engine does not exist.
    """
    check_ops(model)
    record = Record()
    with adapter.engine_scope(setting.engine), torch.no_grad():
        lowering = GraphLowering(model.graph, setting, record)
        module = lowering.build()
    ops = Counter(_target_name(node) for node in module.graph.nodes if node.op == "call_function")
    count = KernelCount(tuple(record.integer), record.missed, dict(ops))
    return Lowered(module, count, lowering.held())


def check_ops(model: ir.Model) -> None:
    """Every op has a row, which computes the form that the node asks for.

    Raises:
        LoweringError: Names each op that has none, or not this form, and the first node of it.
    """
    missing: dict[str, ir.Node] = {}
    for node in all_nodes(model):
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


def _target_name(node: fx.Node) -> str:
    target = node.target
    return (
        str(target)
        if isinstance(target, torch._ops.OpOverload)
        else getattr(target, "__name__", str(target))
    )
