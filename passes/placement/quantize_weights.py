"""`quantize-weights`: stores the weights of integer regions as integers behind DequantizeLinear.

One weight used by several regions with the same integers is stored once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from qcompiler.decisions.binding import bound_regions
from qcompiler.decisions.roundings import Rounding
from qcompiler.ir.program import Program, Property
from qcompiler.ir.qdq import dequantize_constant, stored_constant
from qcompiler.ir.regions import Operand
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline.contract import Outcome, Pass, PassContext


@dataclass(frozen=True)
class QuantizeWeights(Pass):
    """Writes the weight of every region that runs in a static integer form."""

    name: ClassVar[str] = "quantize-weights"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.QDQ_EXPLICIT})
    establishes: ClassVar[frozenset[Property]] = frozenset({Property.WEIGHTS_QUANTIZED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        store = WeightStore(rewriter)
        placed = [each for each in bound_regions(program) if each.decided.rounding is not None]
        for each in placed:
            assert each.region.weight is not None
            assert each.decided.rounding is not None
            store.put(each.region.weight, each.decided.rounding)
        rewriter.drop_unused_constants()
        raised = sum(each.decided.raised for each in placed)
        return Outcome(details={"weights": store.stored, "raised channels": raised})


class WeightStore:
    """Puts integer weights in place; equal ones share one initializer and one DQ per graph."""

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter
        self._stored: dict[tuple[object, ...], tuple[ir.Value, ...]] = {}
        self._copies: dict[tuple[ir.Value, ir.Graph | None], ir.Node] = {}

    @property
    def stored(self) -> int:
        """How many weights were written."""
        return len(self._stored)

    def put(self, operand: Operand, rounding: Rounding) -> None:
        """Makes a stored operand integers behind a DequantizeLinear."""
        parts = self.parts(operand.value, rounding)
        key = (parts[0], operand.node.graph)
        if key not in self._copies:
            self._copies[key] = dequantize_constant(self._rewriter, operand, parts, rounding.params)
        self._rewriter.set_input(operand.node, operand.index, self._copies[key].outputs[0])

    def parts(self, weight: ir.Value, rounding: Rounding) -> tuple[ir.Value, ...]:
        """Initializers (data, scale, zero point) of a weight."""
        key = (weight, *rounding.key)
        if key not in self._stored:
            stem = weight.name or "weight"
            parts = stored_constant(self._rewriter, stem, rounding.params, rounding.integers)
            self._stored[key] = parts
        return self._stored[key]
