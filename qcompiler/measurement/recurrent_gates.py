"""What a switched-on LSTM runs as in the switchable model: the dynamic kernel itself.

Its state is rounded at every step, inside the operator, so no quantization around the LSTM has the
same noise; on the recurrent product it is as large as that of the weights.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.ir.regions import Region
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op
from qcompiler.quantization.qspace import QSpace
from qcompiler.quantization.recurrent import recurrent_weight
from qcompiler.target.capability import Implementation, Kernel

_OPERANDS = 8
"""Of LSTM; those of its dynamic form come behind them."""


def is_dynamic_lstm(region: Region, form: Implementation) -> bool:
    """Whether the kernel can stand for this form; it has no batch-first layout."""
    node = region.anchor
    if not is_op(node, "LSTM") or form.kernel is not Kernel.DYNAMIC or form.weight is None:
        return False
    plain = node.attributes.get_int("layout", 0) == 0
    return plain and all(constant(value) is not None for value in node.inputs[1:3])


def lstm_constants(lstm: ir.Node, space: QSpace, rewriter: Rewriter) -> list[ir.Value]:
    """Weights of `com.microsoft.DynamicQuantizeLSTM`: integers of both, then scales and zeros."""
    parts = []
    for value in lstm.inputs[1:3]:
        assert value is not None
        array = np.asarray(constant(value), np.float32)
        found = recurrent_weight(array, space)
        parts.append([rewriter.constant(each, f"{value.name}_gate") for each in found])
    return [parts[0][0], parts[1][0], *parts[0][1:], *parts[1][1:]]


def dynamic_lstm(
    lstm: ir.Node, constants: list[ir.Value], position: int, stem: str
) -> list[ir.Node]:
    """Nodes, in no graph yet, whose last output is the LSTM's output at `position`."""
    operands = [*lstm.inputs, *[None] * (_OPERANDS - len(lstm.inputs))]
    operands[1:3] = constants[:2]
    attributes = [each for name, each in lstm.attributes.items() if name != "layout"]
    quantized = ir.Node(
        "com.microsoft",
        "DynamicQuantizeLSTM",
        [*operands, *constants[2:]],
        attributes,
        num_outputs=len(lstm.outputs),
        name=f"{stem}_q",
    )
    for index, output in enumerate(quantized.outputs):
        output.name = f"{stem}_{index}"
    return [quantized, ir.node("Identity", [quantized.outputs[position]], name=f"{stem}_d")]
