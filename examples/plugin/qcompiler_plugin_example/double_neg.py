"""The pass `drop-double-neg`."""

from __future__ import annotations

from dataclasses import dataclass

from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, is_op
from qcompiler.pipeline.contract import Outcome, Pass, PassContext


@dataclass(frozen=True)
class DropDoubleNeg(Pass):
    """Neg(Neg(x)) becomes x; exact in floating point.

    Attributes:
        limit: Most pairs to drop; None drops all.
    """

    name = "drop-double-neg"
    limit: int | None = None

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        dropped = 0
        for outer in list(all_nodes(program.model)):
            inner = outer.inputs[0].producer() if outer.inputs and outer.inputs[0] else None
            if inner is None or not (is_op(outer, "Neg") and is_op(inner, "Neg")):
                continue
            source = inner.inputs[0]
            if source is None or (self.limit is not None and dropped >= self.limit):
                continue
            rewriter.replace_uses(outer.outputs[0], source)
            rewriter.erase_dead(outer)
            dropped += 1
        return Outcome(details={"dropped": dropped})
