"""HardSwish written as the product that it is, so that scales of channels pass it.

s · HardSwish(x / s) = x · HardSigmoid(x / s): with one product by a vector, in front of the gate,
a scale goes from the weight that makes x to those that read the result. The three nodes compute in
float, as the function did. ONNX Runtime runs it as HardSigmoid and Mul anyway, so the product is
all that it costs.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from qcompiler.ir.kept import keep_float
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_op, rank, sole_user
from qcompiler.passes.equalization.analysis import Scales, scaled_values
from qcompiler.passes.equalization.elementwise import is_float
from qcompiler.passes.equalization.scope import channels

_ALPHA, _BETA = 1.0 / 6.0, 0.5
_REASON = "what it reads has channels of different ranges in front of a HardSwish"


def open_swishes(program: Program, rewriter: Rewriter, quantized: Collection[str]) -> set[str]:
    """Rewrites each HardSwish that computes in float between channels that can be scaled.

    Gives the names of the products that go into gates.

    Args:
        program: The float program.
        rewriter: Of the program.
        quantized: Names of values that quantized regions write: an integer HardSwish stays.
    """
    found = scaled_values(program)
    made = set()
    for node in list(program.graph):
        output = node.outputs[0] if node.outputs else None
        if output is None or not is_op(node, "HardSwish") or output.name in quantized:
            continue
        axis = _channel_axis(node.inputs[0], found)
        if axis is not None:
            made.add(_open(node, axis, rewriter).name or "")
    return made


def close(divided: ir.Node, rewriter: Rewriter) -> None:
    """Makes a HardSwish again of one that was opened; `divided` writes what its gate reads."""
    gate = sole_user(divided.outputs[0])
    product = None if gate is None else sole_user(gate.outputs[0])
    assert product is not None
    rewriter.recompose(product.outputs[0], "HardSwish", [divided.inputs[0]])


def _channel_axis(value: ir.Value | None, found: Scales) -> int | None:
    """The axis of what a layer writes whose channels could be scaled, but for the function."""
    known = None if value is None else found.maps.get(value)
    if value is None or known is None or len(known.axes) != 1 or not is_float(value):
        return None
    return known.axes[0] if channels(value, known.axes[0]) is not None else None


def _open(node: ir.Node, axis: int, rewriter: Rewriter) -> ir.Value:
    x, output = node.inputs[0], node.outputs[0]
    assert x is not None
    assert x.dtype is not None
    shape = [1] * ((rank(x) or 0) - axis)
    shape[0] = channels(x, axis) or 1
    ones = rewriter.constant(np.ones(shape, x.dtype.numpy()), f"{output.name}_factors")

    def step(op: str, inputs: list[ir.Value], stem: str, **attributes: float) -> ir.Value:
        made = rewriter.insert(
            op,
            inputs,
            before=node,
            attributes=attributes,
            outputs=(f"{output.name}_{stem}",),
            origin=(node,),
            dtype=x.dtype,
            shape=x.shape,
        )
        keep_float(made, _REASON)
        return made.outputs[0]

    inner = step("Mul", [x, ones], "inner")
    gate = step("HardSigmoid", [inner], "gate", alpha=_ALPHA, beta=_BETA)
    rewriter.take_over(step("Mul", [x, gate], "product"), output)
    return inner
