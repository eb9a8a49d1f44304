"""Bounds that clamps and other producers put on a value."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import traits
from qcompiler.ir.walk import is_op, producer_of, scalar

Bounds = tuple[float, float]

_KEEPS_SIGN = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})


def bounds_of(node: ir.Node | None) -> Bounds | None:
    """What a Relu or a Clip with constant bounds clamps to; None for another node."""
    if node is None or not node.inputs:
        return None
    if is_op(node, "Relu"):
        return (0.0, math.inf)
    if not is_op(node, "Clip"):
        return None
    bounds = [-math.inf, math.inf]
    for index in (1, 2):
        operand = node.inputs[index] if len(node.inputs) > index else None
        if operand is not None:
            number = scalar(operand)
            if number is None:
                return None
            bounds[index - 1] = unbounded(number, operand)
    return (bounds[0], bounds[1])


def unbounded(number: float, operand: ir.Value) -> float:
    """The largest finite number of the type stands for no bound."""
    assert operand.dtype is not None
    try:
        largest = float(np.finfo(operand.dtype.numpy()).max)
    except ValueError:
        return number
    return math.copysign(math.inf, number) if abs(number) >= largest else number


def is_nonnegative(value: ir.Value | None, depth: int = 8) -> bool:
    """Whether no element can be below zero, as far as the producers tell."""
    node = producer_of(value)
    if node is None or depth == 0:
        return False
    bounds = bounds_of(node)
    if bounds is not None:
        return bounds[0] >= 0.0 and bounds[1] >= 0.0
    known = traits(node).output_range
    if known is not None:
        return known[0] >= 0.0
    if is_op(node, *_KEEPS_SIGN) or (traits(node).moves_data and not is_op(node, "Pad", "Concat")):
        return is_nonnegative(node.inputs[0], depth - 1)
    return False
