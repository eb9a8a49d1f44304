"""Min, Max, Clip and Relu in one spelling: Relu where it is one, else one Clip with scalars."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from qcompiler.ir.clamping import Bounds, bounds_of, is_nonnegative, unbounded
from qcompiler.ir.element_types import UP_TO_SINGLE
from qcompiler.ir.optraits import traits
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, sole_user
from qcompiler.passes.canonical.algebra import operand_and_scalar
from qcompiler.passes.canonical.identities import bypass
from qcompiler.passes.canonical.rule import rule


@rule("sum-to-add", "Sum")
def sum_to_add(node: ir.Node, rewriter: Rewriter) -> bool:
    """Sum of one → its operand, of more → Adds in the same order."""
    operands = [value for value in node.inputs if value is not None]
    if len(operands) == 1:
        return bypass(node, operands[0], rewriter)
    output = node.outputs[0]
    partial = operands[0]
    for operand in operands[1:-1]:
        inner = rewriter.insert(
            "Add",
            [partial, operand],
            before=node,
            outputs=(f"{output.name}_part",),
            dtype=output.dtype,
        )
        partial = inner.outputs[0]
    rewriter.recompose(output, "Add", [partial, operands[-1]])
    return True


@rule("min-max", "Min", "Max")
def min_max(node: ir.Node, rewriter: Rewriter) -> bool:
    """Min and Max with a constant scalar → a Clip on one side."""
    if len(node.inputs) == 1:
        return bypass(node, node.inputs[0], rewriter)
    found = operand_and_scalar(node)
    if found is None or found[0].dtype not in UP_TO_SINGLE:
        return False
    lower = found[1] if node.op_type == "Max" else -math.inf
    upper = found[1] if node.op_type == "Min" else math.inf
    _emit(node, found[0], (lower, upper), rewriter)
    return True


@rule("clamp", "Clip", "Relu")
def clamp(node: ir.Node, rewriter: Rewriter) -> bool:
    """Clamps of clamps → one; Clip(0, ∞) → Relu; clamps that change nothing → their input."""
    source = node.inputs[0]
    bounds = bounds_of(node)
    if source is None or bounds is None or source.dtype not in UP_TO_SINGLE:
        return False
    if math.isnan(bounds[0]) or math.isnan(bounds[1]):
        return False
    if bounds[1] == math.inf and (
        bounds[0] == -math.inf or (bounds[0] == 0.0 and is_nonnegative(source))
    ):
        return bypass(node, source, rewriter)
    inner = source.producer()
    made = None if inner is None else traits(inner).output_range
    if made is not None and bounds[0] <= made[0] and made[1] <= bounds[1]:
        return bypass(node, source, rewriter)
    first = bounds_of(inner)
    if inner is not None and first is not None and sole_user(source) is node:
        _emit(node, inner.inputs[0], _compose(first, bounds), rewriter)
        return True
    if node.op_type == "Clip" and (bounds == (0.0, math.inf) or not _is_plain(node)):
        _emit(node, source, bounds, rewriter)
        return True
    return False


def _compose(first: Bounds, second: Bounds) -> Bounds:
    """Bounds of clamping by `first`, then by `second` (ONNX: the upper bound wins)."""

    def both(number: float) -> float:
        for lower, upper in (first, second):
            number = min(max(number, lower), upper)
        return number

    return both(-math.inf), both(math.inf)


def _is_plain(node: ir.Node) -> bool:
    """Whether the bounds are scalars and none of them is vacuous."""
    for index, operand in enumerate(node.inputs[1:]):
        if operand is None:
            continue
        array: Any = constant(operand)
        if array is None or array.ndim != 0 or abs(unbounded(float(array), operand)) == math.inf:
            return index == 0 and array is None
    return True


def _emit(node: ir.Node, source: ir.Value | None, bounds: Bounds, rewriter: Rewriter) -> None:
    assert source is not None
    output = node.outputs[0]
    if bounds == (0.0, math.inf):
        rewriter.recompose(output, "Relu", [source])
        return
    dtype = source.dtype or output.dtype or ir.DataType.FLOAT
    operands: list[ir.Value | None] = [source]
    for bound, name in zip(bounds, ("min", "max"), strict=True):
        array = np.array(bound, dtype.numpy())
        finite = abs(bound) != math.inf
        operands.append(rewriter.constant(array, f"{output.name}_{name}") if finite else None)
    while operands[-1] is None:
        operands.pop()
    rewriter.recompose(output, "Clip", operands)
