"""GELU taken apart, in its Erf and its Tanh form, → Gelu.

The Erf form costs the same (ONNX Runtime fuses it too); the Tanh form takes 0.4 of the time.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_op
from qcompiler.passes.canonical.algebra import (
    Polynomial,
    close,
    is_closed,
    matches,
    operand_and_scalar,
    polynomial,
    product,
)
from qcompiler.passes.canonical.rule import rule

_TANH_SCALE = math.sqrt(2.0 / math.pi)
_CUBE = 0.044715
_INNER: dict[str, tuple[Polynomial, dict[str, str]]] = {
    "Erf": ({1: math.sqrt(0.5)}, {}),
    "Tanh": ({1: _TANH_SCALE, 3: _TANH_SCALE * _CUBE}, {"approximate": "tanh"}),
}
"""What stands inside each function (ONNX operator Gelu), and the attributes that say so."""


@rule("gelu", "Mul")
def gelu(node: ir.Node, rewriter: Rewriter) -> bool:
    """x · (1 + f(p(x))) · 1/2 in any order, f one of Erf and Tanh."""
    found = product(node)
    if len(found.factors) != 2 or not close(found.number, 0.5):
        return False
    for gate, variable in (found.factors, found.factors[::-1]):
        read = _gate(gate, variable)
        if read is not None and is_closed(read[0] | found.nodes, node):
            rewriter.recompose(node.outputs[0], "Gelu", [variable], attributes=read[1])
            return True
    return False


def _gate(gate: ir.Value, variable: ir.Value) -> tuple[set[ir.Node], dict[str, str]] | None:
    """The nodes of 1 + f(p(variable)) and the attributes of the Gelu that it belongs to."""
    add = gate.producer()
    found = operand_and_scalar(add) if is_op(add, "Add") else None
    if add is None or found is None or found[1] != 1.0:
        return None
    function = found[0].producer()
    if function is None or not is_op(function, *_INNER):
        return None
    wanted, attributes = _INNER[function.op_type]
    nodes = {add, function}
    inner = function.inputs[0]
    assert inner is not None
    read = polynomial(inner, variable, nodes)
    return (nodes, attributes) if matches(read, wanted) else None
