"""Bounds that an activation function puts on its output."""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.ir.walk import is_op, scalar
from qcompiler.quantization.qspace import Range

_LARGEST = 3.4028234663852886e38
"""Largest float32."""


def activation_bounds(node: ir.Node | None) -> Range | None:
    """What Relu or Clip with constant bounds limits its output to; None for other ops."""
    if is_op(node, "Relu"):
        return Range(0.0, _LARGEST)
    if node is None or not is_op(node, "Clip"):
        return None
    low, high = (
        scalar(node.inputs[i]) if i < len(node.inputs) and node.inputs[i] is not None else end
        for i, end in ((1, -_LARGEST), (2, _LARGEST))
    )
    return None if low is None or high is None or low > high else Range(low, high)
