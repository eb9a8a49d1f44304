"""`quantize-bias`: stores biases of integer regions as int32 with scale input_scale * weight_scale.

The zero point is 0 (ONNX QLinearConv; Jacob et al. 2018, equation 11). Targets whose form keeps
the bias in float get a new one only where an accuracy pass changed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.decisions.binding import bound_regions
from qcompiler.decisions.placement import BiasRounding
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Operand
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline.contract import Outcome, Pass, PassContext


@dataclass(frozen=True)
class QuantizeBias(Pass):
    """Writes the bias of every region whose form asks for int32, and biases that were corrected."""

    name: ClassVar[str] = "quantize-bias"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.WEIGHTS_QUANTIZED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        count = 0
        for each in bound_regions(program):
            bias, decided = each.region.bias, each.decided
            if bias is not None and decided.bias_rounding is not None:
                _store(rewriter, bias, decided.bias_rounding)
                count += 1
            elif bias is not None and decided.bias_value is not None:
                stem = f"{bias.value.name or 'bias'}_corrected"
                rewriter.set_input(
                    bias.node, bias.index, rewriter.constant(decided.bias_value, stem)
                )
        rewriter.drop_unused_constants()
        return Outcome(details={"biases": count})


def _store(rewriter: Rewriter, operand: Operand, rounding: BiasRounding) -> None:
    name = operand.value.name or "bias"
    parts = [
        rewriter.constant(rounding.integers, f"{name}_quantized"),
        rewriter.constant(rounding.scale, f"{name}_scale"),
        rewriter.constant(np.zeros(rounding.scale.shape, np.int32), f"{name}_zero_point"),
    ]
    node = rewriter.insert(
        "DequantizeLinear",
        parts,
        before=operand.node,
        attributes={"axis": rounding.axis},
        outputs=[f"{name}_dequantized"],
        dtype=ir.DataType.FLOAT,
        shape=ir.Shape(rounding.integers.shape),
    )
    rewriter.set_input(operand.node, operand.index, node.outputs[0])
