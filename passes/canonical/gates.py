"""HardSigmoid and HardSwish taken apart are put together again.

On ONNX Runtime's CPU kernels one HardSigmoid and one Mul (which is what HardSwish becomes there)
take 0.55-0.65 of the time of Add, Clip, Mul and Div, and so does HardSigmoid alone of its parts.
"""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.ir.element_types import UP_TO_SINGLE
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_op, scalar
from qcompiler.passes.canonical.algebra import (
    close,
    is_closed,
    matches,
    operand_and_scalar,
    polynomial,
    product,
)
from qcompiler.passes.canonical.rule import rule

_SIXTH = 1.0 / 6.0


@rule("hard-sigmoid", "Mul", "Clip")
def hard_sigmoid(node: ir.Node, rewriter: Rewriter) -> bool:
    """clip(a·x + b, 0, c) · 1/c = clip((a·x + b)/c, 0, 1) = HardSigmoid with alpha a/c, beta b/c.

    A Clip to [0, 1] alone is taken only behind an affine step, else it is the shorter form.
    """
    if node.op_type == "Mul":
        found = operand_and_scalar(node)
        clip, factor = (None, 0.0) if found is None else (found[0].producer(), found[1])
    else:
        clip, factor = node, 1.0
    top = _top_of_clip_from_zero(clip)
    if clip is None or top is None or not close(top * factor, 1.0):
        return False
    affine = _affine(clip.inputs[0])
    if affine is None:
        return False
    variable, alpha, beta, nodes = affine
    if variable.dtype not in UP_TO_SINGLE or not is_closed({*nodes, clip}, node):
        return False
    attributes = {"alpha": float(alpha * factor), "beta": float(beta * factor)}
    rewriter.recompose(node.outputs[0], "HardSigmoid", [variable], attributes=attributes)
    return True


@rule("hard-swish", "Mul")
def hard_swish(node: ir.Node, rewriter: Rewriter) -> bool:
    """x · clip(x + 3, 0, 6) · 1/6 in any order, and x · HardSigmoid(x; 1/6, 1/2) → HardSwish."""
    found = product(node)
    if len(found.factors) != 2:
        return False
    for gate, variable in (found.factors, found.factors[::-1]):
        nodes = _gate_of(gate, variable, found.number)
        if nodes is not None and is_closed(nodes | found.nodes, node):
            rewriter.recompose(node.outputs[0], "HardSwish", [variable])
            return True
    return False


def _gate_of(gate: ir.Value, variable: ir.Value, number: float) -> set[ir.Node] | None:
    """The nodes of the gate, if `gate · number` is clip(variable + 3, 0, 6) / 6."""
    node = gate.producer()
    if node is not None and is_op(node, "HardSigmoid"):
        alpha = node.attributes.get_float("alpha", 0.2)
        beta = node.attributes.get_float("beta", 0.5)
        right = close(alpha, _SIXTH) and close(beta, 0.5) and close(number, 1.0)
        return {node} if right and node.inputs[0] is variable else None
    if node is None or _top_of_clip_from_zero(node) != 6.0 or not close(number, _SIXTH):
        return None
    nodes = {node}
    inner = node.inputs[0]
    assert inner is not None
    return nodes if matches(polynomial(inner, variable, nodes), {1: 1.0, 0: 3.0}) else None


def _top_of_clip_from_zero(node: ir.Node | None) -> float | None:
    """The upper bound of a Clip whose lower one is 0."""
    if node is None or not is_op(node, "Clip") or len(node.inputs) < 3:
        return None
    return scalar(node.inputs[2]) if scalar(node.inputs[1]) == 0.0 else None


def _affine(value: ir.Value | None) -> tuple[ir.Value, float, float, set[ir.Node]] | None:
    """x, a, b and the nodes of a·x + b with at least one step."""
    node = None if value is None else value.producer()
    if value is None or node is None or not is_op(node, "Add", "Sub", "Mul"):
        return None
    found = operand_and_scalar(node)
    if found is None:
        return None
    variable = found[0]
    inner = variable.producer()
    deeper = operand_and_scalar(inner) if is_op(inner, "Mul") else None
    if deeper is not None and is_op(node, "Add", "Sub"):
        variable = deeper[0]
    nodes: set[ir.Node] = set()
    read = polynomial(value, variable, nodes)
    if read is None or set(read) - {0, 1} or read.get(1, 0.0) == 0.0:
        return None
    return variable, read[1], read.get(0, 0.0), nodes
