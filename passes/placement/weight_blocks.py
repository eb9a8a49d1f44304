"""`quantize-weight-blocks`: weights that are stored in integers and computed with in float.

Weights in blocks have one scale per `group_size` consecutive elements of the reduction axis (ONNX
DequantizeLinear-21 with `block_size`), others (float8) one per channel, look-up tables one scale
and zero point per row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.decisions.binding import Placed, bound_regions
from qcompiler.decisions.roundings import Rounding, reduction_axis
from qcompiler.ir.program import Program, Property
from qcompiler.ir.qdq import dequantize_constant, stored_constant
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_op, stored_array
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.target.capability import Kernel


@dataclass(frozen=True)
class QuantizeWeightBlocks(Pass):
    """Writes the weight of every region that runs in a weight-only form.

    Attributes:
        fusible: Write weights in blocks as ONNX Runtime's fusion to MatMulNBits takes them: every
            product has constants of its own, and the weight of a Gemm is [inputs, outputs], without
            transB (1.31.1, docs/onnxruntime.md). Otherwise equal weights are stored once.
    """

    fusible: bool = False

    name: ClassVar[str] = "quantize-weight-blocks"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        made: dict[_Stored, tuple[ir.Value, ...]] = {}
        stored = 0
        for each in bound_regions(program, Kernel.WEIGHT_ONLY):
            rounding = each.decided.rounding
            if rounding is None or rounding.params.space.is_table:
                continue
            if self.fusible and rounding.params.space.group_size is not None:
                made.clear()
                rounding = _untransposed(each, rounding, rewriter)
            stored += _store(each, rounding, rewriter, made)
        rewriter.drop_unused_constants()
        return Outcome(details={"weights": stored})


def _untransposed(placed: Placed, rounding: Rounding, rewriter: Rewriter) -> Rounding:
    """A @ B^T with a stored B becomes A @ B' with B' = B^T, and so do B's integers."""
    operand = placed.region.weight
    assert operand is not None
    array = stored_array(operand.value)
    if not is_op(operand.node, "Gemm") or reduction_axis(operand.node) == 0 or array is None:
        return rounding
    stem = operand.value.name or "weight"
    turned = rewriter.constant(np.ascontiguousarray(array.T), stem)
    rewriter.set_input(operand.node, operand.index, turned)
    rewriter.set_attribute(operand.node, "transB", None)
    return rounding.transposed()


_Stored = tuple[ir.Value, tuple[object, ...], ir.Graph]
"""A float weight, the key of its integers, and the graph they are in."""


def _store(
    placed: Placed,
    rounding: Rounding,
    rewriter: Rewriter,
    made: dict[_Stored, tuple[ir.Value, ...]],
) -> int:
    """Makes the region read integers; returns how many weights were stored for that.

    Constants go to the product's own graph: ONNX Runtime's fusion to MatMulNBits does not look for
    them in outer scopes and fails to load the model ("Missing required weight", qdq_actions.cc of
    1.31.1).
    """
    operand = placed.region.weight
    assert operand is not None
    home = operand.node.graph
    assert isinstance(home, ir.Graph)
    key = (operand.value, rounding.key, home)
    new = key not in made
    if new:
        stem = operand.value.name or "weight"
        made[key] = stored_constant(rewriter, stem, rounding.params, rounding.integers, home)
    node = dequantize_constant(rewriter, operand, made[key], rounding.params)
    rewriter.set_input(operand.node, operand.index, node.outputs[0])
    return int(new)
