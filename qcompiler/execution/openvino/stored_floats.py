"""Stored integers given to OpenVINO as the floats that they stand for."""

from __future__ import annotations

import numpy as np

from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, is_op, stored_array


def float_constants(program: Program) -> Program:
    """A copy whose stored integers are the float32 numbers that their DequantizeLinear makes.

    Without its low-precision transformations OpenVINO takes them for compressed weights, and makes
    a MatMul of a pointwise convolution behind a Transpose of any order.
    """
    copy = program.clone()
    rewriter = Rewriter(copy)
    for node in list(all_nodes(copy.model)):
        array = stored_array(node.outputs[0]) if is_op(node, "DequantizeLinear") else None
        if array is not None:
            stored = rewriter.constant(np.asarray(array, np.float32), "dequantized")
            rewriter.replace_uses(node.outputs[0], stored)
            rewriter.erase(node)
    return copy
