"""Additive attention masks: values whose range says nothing about the activations.

A mask adds -10000, the lowest float or -inf to attention scores in front of a Softmax. One such
value in a range leaves a handful of levels to the scores (minilm_l6: accuracy 0.86 -> 0.31).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import activation_positions, traits
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, constant, is_constant, is_op


def masked_values(program: Program) -> set[ir.Value]:
    """Masks that are computed (not constants), and the scores after a mask was applied.

    A mask is an operand of the Add, Sub or Where in front of a Softmax that depends on no matrix
    product; the score operand does.
    """
    found: set[ir.Value] = set()
    for node in all_nodes(program.model):
        if not is_op(node, "Softmax", "LogSoftmax"):
            continue
        for masking, scores in _masking_nodes(node.inputs[0]):
            masks = [v for v in _operands(masking) if _may_mask(v)]
            if not masks or len(masks) == len(_operands(masking)):
                continue
            found.update(scores)
            found.update(mask for mask in masks if not is_constant(mask))
    return found


def _masking_nodes(value: ir.Value | None) -> Iterator[tuple[ir.Node, list[ir.Value]]]:
    """Add, Sub and Where nodes between a Softmax and its scores, with the values after them."""
    after: list[ir.Value] = []
    while value is not None:
        after.append(value)
        node = value.producer()
        if node is None:
            return
        if is_op(node, "Add", "Sub", "Where", "Max"):
            yield node, list(after)
            products = [v for v in _operands(node) if _from_product(v)]
            value = products[0] if len(products) == 1 else None
        elif traits(node).moves_data and activation_positions(node):
            value = node.inputs[activation_positions(node)[0]]
        else:
            return


def _operands(node: ir.Node) -> list[ir.Value]:
    first = 1 if is_op(node, "Where") else 0
    return [value for value in node.inputs[first:] if value is not None]


_LOWEST_BIAS = -64.0
"""A learned bias in front of a Softmax is well above; a mask shuts out a score of any size."""


def _may_mask(value: ir.Value) -> bool:
    """Whether a value may be a mask: computed apart from the scores, or with very low constants.

    The bias of a classifier and a table of relative positions are constants, too, but data.
    """
    if _from_product(value):
        return False
    array = constant(value)
    if array is None or array.dtype.kind != "f":
        return True
    return bool(np.min(array, initial=0.0) < _LOWEST_BIAS)


def _from_product(value: ir.Value) -> bool:
    """Whether a value depends on a weighted op (MatMul, Gemm, Conv, ...)."""
    pending, seen = [value], {value}
    while pending:
        node = pending.pop().producer()
        if node is None:
            continue
        row = traits(node)
        if row.weight is not None and not row.moves_data:
            return True
        for operand in node.inputs:
            if operand is not None and operand not in seen:
                seen.add(operand)
                pending.append(operand)
    return False
