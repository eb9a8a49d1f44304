"""Transposes: those that cancel, and those that elementwise operators keep apart.

Networks that kept channels last (TensorFlow, ONNX Runtime's saved files) have a Transpose on both
sides of each convolution. Behind the elementwise operators between them they cancel.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import traits
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, rank, uses
from qcompiler.passes.canonical.identities import bypass
from qcompiler.passes.canonical.rule import rule

_ELEMENTWISE = (
    "Abs", "Add", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish",
    "LeakyRelu", "Max", "Min", "Mul", "Neg", "PRelu", "Relu", "Selu", "Sigmoid", "Softplus",
    "Sqrt", "Sub", "Sum", "Tanh",
)  # fmt: skip


@rule("transposes", "Transpose")
def transposes(node: ir.Node, rewriter: Rewriter) -> bool:
    """Transpose that keeps the order → its input; Transpose of a Transpose → one."""
    perm = node.attributes.get_ints("perm")
    source = node.inputs[0]
    if perm is None or source is None:
        return False
    if source.shape is not None and len(source.shape) != len(perm):
        return False  # refused by the engine; not to become legal here
    if list(perm) == list(range(len(perm))):
        return bypass(node, source, rewriter)
    first = _order(source)
    if first is None or len(first) != len(perm):
        return False
    inner = source.producer()
    assert inner is not None
    merged = [first[axis] for axis in perm]
    if merged == list(range(len(merged))):
        return bypass(node, inner.inputs[0], rewriter)
    rewriter.recompose(node.outputs[0], "Transpose", [inner.inputs[0]], attributes={"perm": merged})
    return True


@rule("join-transposes", *_ELEMENTWISE)
def join_transposes(node: ir.Node, rewriter: Rewriter) -> bool:
    """op(T(a), T(b), c) → T(op(a, b, T⁻¹(c))) where that leaves fewer Transposes.

    It does for two of them that nobody else reads, or for one whose result is transposed again.
    """
    facts = traits(node)
    if not facts.elementwise or len(node.outputs) != 1:
        return False
    orders = {value: _order(value) for value in node.inputs if value is not None}
    turned = [value for value, order in orders.items() if order is not None]
    perms = {tuple(order) for order in orders.values() if order is not None}
    if len(perms) != 1 or not all(_only_read_by(value, node) for value in turned):
        return False
    if len(turned) < 2 and not _transposed_again(node.outputs[0]):
        return False
    (perm,) = perms
    operands = [_before(value, orders, perm, rewriter) for value in node.inputs]
    if any(new is None and old is not None for new, old in zip(operands, node.inputs, strict=True)):
        return False
    output = node.outputs[0]
    attributes = {name: each.value for name, each in node.attributes.items()}
    made = rewriter.insert(
        node.op_type, operands, before=node, attributes=attributes,
        outputs=(f"{output.name}_before",), dtype=output.dtype, shape=_shape(output, perm),
    )  # fmt: skip
    rewriter.recompose(output, "Transpose", made.outputs, attributes={"perm": list(perm)})
    return True


def _order(value: ir.Value) -> tuple[int, ...] | None:
    """The order of the Transpose that makes a value."""
    producer = value.producer()
    if producer is None or not is_op(producer, "Transpose"):
        return None
    perm = producer.attributes.get_ints("perm")
    return None if perm is None else tuple(perm)


def _only_read_by(value: ir.Value, node: ir.Node) -> bool:
    return not value.is_graph_output() and all(use.node is node for use in uses(value))


def _transposed_again(value: ir.Value) -> bool:
    return any(is_op(use.node, "Transpose") for use in uses(value))


def _before(
    value: ir.Value | None,
    orders: dict[ir.Value, tuple[int, ...] | None],
    perm: tuple[int, ...],
    rewriter: Rewriter,
) -> ir.Value | None:
    """An operand in the order in front of the Transpose; None where it has none."""
    if value is None:
        return None
    if orders[value] is not None:
        producer = value.producer()
        assert producer is not None
        return producer.inputs[0]
    array = constant(value)
    if array is None or array.ndim > len(perm):
        return None
    if array.size == 1 and array.ndim <= 1:
        return value
    full = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
    turned = np.ascontiguousarray(np.transpose(full, np.argsort(perm)))
    return rewriter.constant(turned, f"{value.name}_before")


def _shape(value: ir.Value, perm: tuple[int, ...]) -> ir.Shape | None:
    if value.shape is None or rank(value) != len(perm):
        return None
    return ir.Shape([value.shape[int(axis)] for axis in np.argsort(perm)])
