"""`quantize-bias`: stores biases of integer regions as int32 with scale input_scale * weight_scale.

The zero point is 0 (ONNX QLinearConv; Jacob et al. 2018, equation 11). Targets whose form keeps
the bias in float are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.errors import ConfigurationError
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Operand
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, stored_array
from qcompiler.passes.placement.quantize_weights import dequantized_scale
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.numerics import bias_scale, quantize_bias
from qcompiler.quantization.qspace import FloatArray
from qcompiler.target.capability import BiasForm
from qcompiler.target.placement import placed_regions


@dataclass(frozen=True)
class QuantizeBias(Pass):
    """Quantizes the bias of every region whose form asks for int32."""

    name: ClassVar[str] = "quantize-bias"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.WEIGHTS_QUANTIZED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if context.target is None:
            raise ConfigurationError("quantize-bias needs a target")
        count = 0
        for each in placed_regions(program, context.target):
            region = each.region
            if each.form.bias is not BiasForm.INT32 or region.bias is None:
                continue
            bias = stored_array(region.bias.value)
            input_scale = dequantized_scale(region.activations[0].value)
            weight_scale = _weight_scale(region.weight)
            if bias is None or input_scale is None or weight_scale is None:
                continue
            _store(rewriter, region.bias, np.asarray(bias, np.float32), input_scale, weight_scale)
            count += 1
        rewriter.drop_unused_constants()
        return Outcome(details={"biases": count})


def _weight_scale(weight: Operand | None) -> FloatArray | None:
    node = weight.value.producer() if weight is not None else None
    if node is None or not is_op(node, "DequantizeLinear"):
        return None
    array = constant(node.inputs[1])
    return None if array is None else np.asarray(array, np.float32)


def _store(
    rewriter: Rewriter,
    operand: Operand,
    bias: FloatArray,
    input_scale: float,
    weight_scale: FloatArray,
) -> None:
    scale = bias_scale(np.float32(input_scale), weight_scale)
    # A MatMul's bias may have leading ones; ONNX takes scales along one axis.
    axis = max(bias.ndim - 1, 0)
    scale = np.broadcast_to(scale, bias.shape).reshape(-1)[: max(bias.shape[-1:] or (1,))]
    scale = np.asarray(scale if bias.ndim else scale.reshape(()), np.float32)
    integers = quantize_bias(bias, np.float32(input_scale), weight_scale)
    name = operand.value.name or "bias"
    zero = np.zeros(scale.shape, np.int32)
    parts = [
        rewriter.constant(np.asarray(integers, np.int32), f"{name}_quantized"),
        rewriter.constant(scale, f"{name}_scale"),
        rewriter.constant(zero, f"{name}_zero_point"),
    ]
    node = rewriter.insert(
        "DequantizeLinear",
        parts,
        before=operand.node,
        attributes={"axis": axis},
        outputs=[f"{name}_dequantized"],
        dtype=ir.DataType.FLOAT,
        shape=ir.Shape(bias.shape),
    )
    rewriter.set_input(operand.node, operand.index, node.outputs[0])
