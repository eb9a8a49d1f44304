"""`merge-double-pairs`: a value that is rounded twice in a row is rounded once, as its reader asks.

Where an activation between two kernels is done by the saturation of the second QuantizeLinear, two
pairs stand behind each other: Q1 → DQ1 → Q2. ONNX Runtime merges them when it loads a model, on a
grid of its own: the intersection of both ranges (double_qdq_pairs_remover.cc). The kernel would
then write other integers than the file says, in a quarter of the elements by one step. Without
the first pair there is nothing to merge, and one rounding less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, constant, is_op, producer_of, sole_user
from qcompiler.pipeline.contract import Outcome, Pass, PassContext


@dataclass(frozen=True)
class MergeDoublePairs(Pass):
    """Q1 → DQ1 → Q2, which nothing else reads, becomes Q2."""

    name: ClassVar[str] = "merge-double-pairs"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.QDQ_EXPLICIT})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        merged = 0
        for node in list(all_nodes(program.model)):
            first = _first_pair(node)
            while first is not None:
                dequantize = node.inputs[0]
                assert dequantize is not None
                rewriter.set_input(node, 0, first.inputs[0])
                last = dequantize.producer()
                assert last is not None
                rewriter.erase_dead(last)
                merged += 1
                first = _first_pair(node)
        rewriter.drop_unused_constants()
        return Outcome(details={"merged": merged})


def _first_pair(second: ir.Node) -> ir.Node | None:
    """The QuantizeLinear of the pair in front of this one, if they round to one type of integers.

    Not where the types differ: that is how a kernel reads another type than the other one writes.
    """
    if not is_op(second, "QuantizeLinear"):
        return None
    dequantize = _behind(second, "DequantizeLinear")
    first = None if dequantize is None else _behind(dequantize, "QuantizeLinear")
    if first is None:
        return None
    if not (_is_per_tensor(second) and _is_per_tensor(first)):
        return None
    return first if _type_of(second) is _type_of(first) else None


def _type_of(quantize: ir.Node) -> ir.DataType | None:
    zero = quantize.inputs[2] if len(quantize.inputs) > 2 else None
    return quantize.outputs[0].dtype or (None if zero is None else zero.dtype)


def _is_per_tensor(quantize: ir.Node) -> bool:
    """Whether it has one scale, which is known."""
    scale = constant(quantize.inputs[1])
    return scale is not None and scale.size == 1 and scale.ndim <= 1


def _behind(node: ir.Node, op: str) -> ir.Node | None:
    """The producer of the first operand, if it is such an op and nothing else reads it."""
    value = node.inputs[0]
    made = producer_of(value)
    if value is None or made is None or not is_op(made, op):
        return None
    return made if sole_user(value) is node and made.graph is node.graph else None
