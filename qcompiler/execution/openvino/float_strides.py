"""OV-R18: strided convolutions with kernels of one element, which OpenVINO takes apart.

Its pass StridesOptimization moves their strides towards the input, through elementwise ops and
other such convolutions, and ends them at the first op that it does not know. It takes the first
output of that op, whichever was read, and fails where the op has none by default; padding is not
moved along.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import TRAITS
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_op

_END = np.iinfo(np.int64).max
_STOP = ("QuantizeLinear", "DequantizeLinear", "If", "Loop", "Scan")
_PASSED = ("Identity", "BatchNormalization", "Dropout")


def slice_before_pointwise(node: ir.Node, rewriter: Rewriter) -> str | None:
    """Pad and Slice in front of the convolution do what its padding and strides did."""
    strides = list(node.attributes.get_ints("strides", ()))
    data = node.inputs[0]
    if data is None or max(strides, default=1) == 1 or not _is_pointwise(node):
        return None
    pads = list(node.attributes.get_ints("pads", ()))
    if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        pads = []  # windows of one element need none
    if not any(pads) and not _begins_at_one_of_many(data):
        return None
    axes = len(strides)
    if any(pads):
        amounts = np.asarray([0, 0, *pads[:axes], 0, 0, *pads[axes:]], np.int64)
        inputs = [data, rewriter.constant(amounts, "pads")]
        data = rewriter.insert("Pad", inputs, before=node, dtype=data.dtype).outputs[0]
    bounds = {"starts": [0] * axes, "ends": [_END] * axes,
              "axes": list(range(2, axes + 2)), "steps": strides}  # fmt: skip
    operands = [rewriter.constant(np.asarray(v, np.int64), name) for name, v in bounds.items()]
    thinned = rewriter.insert("Slice", [data, *operands], before=node, dtype=data.dtype)
    rewriter.set_input(node, 0, thinned.outputs[0])
    for name in ("strides", "pads", "auto_pad"):
        rewriter.set_attribute(node, name, None)
    return None


def _is_pointwise(node: ir.Node) -> bool:
    weight = node.inputs[1]
    shape = weight.shape if weight is not None else None
    return shape is not None and all(size == 1 for size in shape[2:])


def _begins_at_one_of_many(value: ir.Value) -> bool:
    """Whether strides moved towards the input from here end at an op with several outputs."""
    waiting, seen = [value], set[ir.Value]()
    while waiting:
        found = waiting.pop()
        node = found.producer()
        if node is None or found in seen:
            continue
        seen.add(found)
        if len(node.outputs) > 1:
            return True
        if _moves(node):
            waiting.extend(each for each in node.inputs if each is not None)
    return False


def _moves(node: ir.Node) -> bool:
    """Whether strides may go through it; ops without traits are written as several."""
    if is_op(node, "Conv"):
        return _is_pointwise(node)
    traits = TRAITS.get(node.op_type)
    return not is_op(node, *_STOP) and (
        traits is None or traits.elementwise or is_op(node, *_PASSED)
    )
