"""`quantize-stored-operands`: constants that an integer kernel reads as data, not as its weight.

The constant part of a Concat, the stored left factor of a MatMul. Engines have integer kernels
only where every operand is quantized, so such a constant gets the parameters of its own range; or
those of the output where operands and output share one scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qcompiler.decisions.binding import bound_regions
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Operand
from qcompiler.ir.rewriter import Rewriter
from qcompiler.passes.placement.quantize_weights import WeightStore
from qcompiler.pipeline.contract import Outcome, Pass, PassContext


@dataclass(frozen=True)
class QuantizeStoredOperands(Pass):
    """Writes the stored data operands of every region that runs in a static form."""

    name: ClassVar[str] = "quantize-stored-operands"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.QDQ_EXPLICIT})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        store = WeightStore(rewriter)
        count = 0
        for placed in bound_regions(program):
            for constant in placed.decided.constants:
                operand = Operand(placed.region.anchor, constant.operand.index)
                store.put(operand, constant.rounding)
                count += 1
        rewriter.drop_unused_constants()
        return Outcome(details={"operands": count})
