"""`share-dequantized`: whoever reads a quantized value reads its dequantized copy.

OpenVINO 2026.4 fuses the Q of a value into the kernel that writes it and then hands the wrong
numbers to float readers of the same value (measured: squeeze-and-excite gates, where pooling
reads Q/DQ and Mul the convolution's result). With one reading for all there is nothing to mix up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import Usage, all_graphs, is_op, uses
from qcompiler.pipeline.contract import Outcome, Pass, PassContext


@dataclass(frozen=True)
class ShareDequantized(Pass):
    """Makes float readers of a quantized value read its DequantizeLinear."""

    name: ClassVar[str] = "share-dequantized"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.QDQ_EXPLICIT})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        redirected = 0
        for graph in all_graphs(program.model):
            for node in list(graph):
                if is_op(node, "QuantizeLinear"):
                    redirected += _redirect(node, rewriter)
        return Outcome(details={"redirected": redirected})


def _redirect(quantize: ir.Node, rewriter: Rewriter) -> int:
    """Redirects the float readers of one value; a value quantized twice keeps them."""
    value, copy = quantize.inputs[0], _dequantized(quantize)
    if value is None or copy is None:
        return 0
    readers = uses(value)
    if sum(is_op(use.node, "QuantizeLinear") for use in readers) != 1:
        return 0
    floats = [use for use in readers if _reads_float(use, quantize)]
    if floats:
        rewriter.replace_uses(value, copy, only=floats)
    return len(floats)


def _reads_float(use: Usage, quantize: ir.Node) -> bool:
    return use.node is not quantize and use.node.graph is quantize.graph


def _dequantized(quantize: ir.Node) -> ir.Value | None:
    """The result of the one DQ in the same graph that reads the integers."""
    found = [use.node for use in uses(quantize.outputs[0]) if use.node.graph is quantize.graph]
    plain = [node for node in found if is_op(node, "DequantizeLinear")]
    return plain[0].outputs[0] if len(found) == len(plain) == 1 else None
