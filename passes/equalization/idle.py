"""What was put in for scales of channels, and taken back where no scale was chosen."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant


def undo_idle(
    program: Program,
    rewriter: Rewriter,
    made: Collection[str],
    undo: Callable[[ir.Node, Rewriter], None],
) -> int:
    """Takes back the multipliers that are still ones; says how many are left.

    Args:
        program: Where they were put in.
        rewriter: Of the program.
        made: Names of what they write. Their second operand holds the factors.
        undo: Takes one back.
    """
    left = 0
    for node in list(program.graph):
        if not node.outputs or node.outputs[0].name not in made:
            continue
        factors = constant(node.inputs[1])
        if factors is not None and np.all(factors == 1):
            undo(node, rewriter)
        else:
            left += 1
    rewriter.drop_unused_constants()
    return left
