"""Additive attention masks: values whose range says nothing about the activations.

A mask adds -10000, the lowest float or -inf to attention scores in front of a Softmax, or to values
of which the largest is taken. One such value in a range leaves a handful of levels to the scores
(minilm_l6: accuracy 0.86 -> 0.31).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import activation_positions, traits, weight_of
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, constant, is_constant, is_op, uses


def masked_values(program: Program) -> set[ir.Value]:
    """Masks that are computed (not constants), and the scores after a mask was applied.

    A mask is an operand of the Add, Sub or Where in front of a Softmax, or of an Exp that is
    divided by its sum, that depends on no matrix product; the score operand does. Behind the mask,
    scores may be scaled, clamped, moved, or counted from their maximum. In front of a maximum or a
    minimum, where sums of other kinds stand, too, a mask has a large constant in it.
    """
    found: set[ir.Value] = set()
    for node in all_nodes(program.model):
        extreme = is_op(node, *_EXTREMES)
        if not (extreme or is_op(node, "Softmax", "LogSoftmax") or _is_exp_of_softmax(node)):
            continue
        for masking, scores in _masking_nodes(node.inputs[0]):
            operands = _operands(masking)
            products = {value: _product(value) for value in operands}
            most = max(products.values(), default=0)
            masks = [v for v in operands if products[v] < most and _may_mask(v)]
            masks = [v for v in masks if not extreme or _has_large_constant(v)]
            if masks:
                found.update(scores)
                found.update(mask for mask in masks if not is_constant(mask))
    return found


_EXTREMES = (
    "ReduceMax", "ReduceMin", "ReduceLogSumExp", "ArgMax", "ArgMin", "TopK",
    "MaxPool", "GlobalMaxPool", "Hardmax",
)  # fmt: skip
_LARGE = 1e3


def _has_large_constant(value: ir.Value) -> bool:
    """Whether a number as large as masks have enters what a value is computed from."""
    pending, seen = [value], {value}
    while pending:
        current = pending.pop()
        array = constant(current)
        if array is not None:
            if array.dtype.kind == "f" and np.max(np.abs(array), initial=0.0) >= _LARGE:
                return True
            continue
        node = current.producer()
        if node is None:
            continue
        fresh = [each for each in node.inputs if each is not None and each not in seen]
        seen.update(fresh)
        pending += fresh
    return False


def _is_exp_of_softmax(node: ir.Node) -> bool:
    """Whether an Exp's results are summed up, as a Softmax that is taken apart does."""
    if not is_op(node, "Exp"):
        return False
    return any(is_op(use.node, "ReduceSum") for use in uses(node.outputs[0]))


def _masking_nodes(value: ir.Value | None) -> Iterator[tuple[ir.Node, list[ir.Value]]]:
    """Add, Sub and Where nodes between a Softmax and its scores, with the values after them."""
    after: list[ir.Value] = []
    while value is not None:
        after.append(value)
        node = value.producer()
        if node is None:
            return
        if is_op(node, "Add", "Sub", "Where", "Max", "Min") and not _is_from_maximum(node):
            yield node, list(after)
        value = _scores(node)


def _scores(node: ir.Node) -> ir.Value | None:
    """The operand of a node that holds the scores; None where it computes something else."""
    if _is_from_maximum(node):
        return node.inputs[0]
    if is_op(node, "Add", "Sub", "Where", "Max", "Min", "Mul", "Div"):
        operands = _operands(node)
        most = max(map(_product, operands), default=0)
        scores = [each for each in operands if most and _product(each) == most]
        return scores[0] if len(scores) == 1 else None
    if traits(node).moves_data and activation_positions(node):
        return node.inputs[activation_positions(node)[0]]
    return node.inputs[0] if traits(node).unary or is_op(node, "Clip", "Cast") else None


def _is_from_maximum(node: ir.Node) -> bool:
    """Whether a Sub counts values from their own maximum."""
    if not is_op(node, "Sub") or len(node.inputs) < 2 or node.inputs[1] is None:
        return False
    maximum = node.inputs[1].producer()
    while maximum is not None and traits(maximum).moves_data and maximum.inputs[0] is not None:
        maximum = maximum.inputs[0].producer()
    if maximum is None or not is_op(maximum, "ReduceMax"):
        return False
    return maximum.inputs[0] is node.inputs[0]


def _operands(node: ir.Node) -> list[ir.Value]:
    first = 1 if is_op(node, "Where") else 0
    return [value for value in node.inputs[first:] if value is not None]


_LOWEST_BIAS = -64.0
"""A learned bias in front of a Softmax is well above; a mask shuts out a score of any size."""


def _may_mask(value: ir.Value) -> bool:
    """Whether a value may be a mask: computed apart from the scores, or with very low constants.

    The bias of a classifier and a table of relative positions are constants, too, but data.
    """
    array = constant(value)
    if array is None or array.dtype.kind != "f":
        return True
    return bool(np.min(array, initial=0.0) < _LOWEST_BIAS)


def _product(value: ir.Value) -> int:
    """Whether a value depends on a product: 2 with a stored weight, 1 without, 0 for none.

    Two masks may be multiplied, too, so the score operand is the one with the higher number. What
    is made of the size of a product does not depend on its numbers.
    """
    best, pending, seen = 0, [value], {value}
    while pending:
        node = pending.pop().producer()
        if node is None or is_op(node, "Shape", "Size"):
            continue
        row = traits(node)
        if row.weight is not None and not row.moves_data:
            if weight_of(node) is not None:
                return 2
            best = 1
        for operand in node.inputs:
            if operand is not None and operand not in seen:
                seen.add(operand)
                pending.append(operand)
    return best
