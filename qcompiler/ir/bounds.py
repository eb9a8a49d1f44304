"""Bounds that an activation function puts on its output."""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.ir.optraits import activation_positions, traits
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


_PASSED_ON = 16
"""How many movers are looked through for an activation."""


def value_bounds(value: ir.Value, reached: bool = True) -> Range | None:
    """What the function that makes a value, or that it is passed on from, limits it to.

    Args:
        value: Any value.
        reached: Whether a limit that the function may never come near counts: a source whose
            levels end below Sigmoid's 1 is not to be stretched to it.
    """
    node, depth = value.producer(), 0
    while node is not None and depth < _PASSED_ON:
        found = activation_bounds(node)
        row = traits(node)
        if found is not None:
            return found
        if row.output_range is not None:
            bounds = Range(*row.output_range)
            return bounds if reached or bounds.low < 0 else Range(0.0, _LARGEST)
        operands = [node.inputs[i] for i in activation_positions(node)]
        if not row.shares_scale or len(operands) != 1 or operands[0] is None:
            return None
        node, depth = operands[0].producer(), depth + 1
    return None
