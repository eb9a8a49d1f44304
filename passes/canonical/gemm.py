"""Gemm with factors: alpha and beta move into constant operands, where kernels need not know."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant
from qcompiler.passes.canonical.rule import rule


@rule("gemm-factors", "Gemm")
def gemm_factors(node: ir.Node, rewriter: Rewriter) -> bool:
    """alpha * A @ B + beta * C with constant B and C becomes A @ B' + C'.

    Rounds each weight once more (half an ulp); a factor whose operand is computed stays.
    """
    changed = _scaled(node, "alpha", 1, rewriter)
    return _scaled(node, "beta", 2, rewriter) or changed


def _scaled(node: ir.Node, factor: str, position: int, rewriter: Rewriter) -> bool:
    value = node.attributes.get_float(factor, 1.0)
    operand = node.inputs[position] if position < len(node.inputs) else None
    if value == 1.0 or operand is None:
        return False
    array = constant(operand)
    if array is None or array.dtype.kind != "f":
        return False
    scaled = np.asarray(array * array.dtype.type(value))
    rewriter.set_input(node, position, rewriter.constant(scaled, f"{operand.name}_{factor}"))
    rewriter.set_attribute(node, factor, None)
    return True
