"""Values whose relative error counts: what roots, logarithms and divisors are computed from.

Integers of 8 bits have one step for all sizes. sqrt(x), log(x), 1/x and what is divided by x change
by a share of x, or more, so half a step beside a small x is as bad as losing it: a spectrum of
powers (values over five decades), the variance in a normalization that is taken apart, the sum under
a mean. Measured: silero_vad_seq keeps 2.5 dB with the sum of two squares under its root in uint8,
20 dB without; magika 9 dB with a variance in uint8.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import activation_positions, traits
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, constant, is_op, uses

_REDUCTIONS = ("ReduceMean", "ReduceSum", "GlobalAveragePool", "AveragePool")
_SIGNED_SUMS = ("Add", "Sub", "Sum")
_SQUARE = 2.0
_KEPT = ("Relu", "Clip", "Abs", "Neg", "Max", "Min", "Sqrt", "Pow", "Cast")
"""Ops whose result's relative error is about that of their operand."""


def relative_values(program: Program) -> dict[str, str]:
    """Values that want relative precision, by name, with the reason.

    Backwards from such a function they are followed through data movement, clamps, sums, products
    and one reduction. The operands of a square, and what is averaged without being squared, are
    ordinary values: sqrt(x * x) has the error of x. Forwards, a reciprocal is followed to the
    product that it is for, whose other operand it multiplies by numbers of many sizes.
    """
    found: dict[ir.Value, str] = {}
    for node in all_nodes(program.model):
        for value, reason in _arguments(node):
            _backwards(value, reason, found)
        if _is_reciprocal(node):
            _forwards(node.outputs[0], f"'{node.name}' divides by it", found)
    return {value.name or "": reason for value, reason in found.items()}


def _arguments(node: ir.Node) -> Iterator[tuple[ir.Value, str]]:
    """Computed operands of which a share counts, and why."""
    position = 1 if is_op(node, "Div") else 0
    steep = is_op(node, "Sqrt", "Log", "Reciprocal", "Div") or _exponent(node) < 1
    if not steep or position >= len(node.inputs):
        return
    value = node.inputs[position]
    if value is not None and constant(value) is None:
        yield value, f"{node.op_type} '{node.name}' wants a share of it, not a step"


def _exponent(node: ir.Node) -> float:
    """The exponent of a Pow where it is one number, else 1."""
    array = constant(node.inputs[1]) if is_op(node, "Pow") else None
    return 1.0 if array is None or array.size != 1 else float(np.ravel(array)[0])


def _is_reciprocal(node: ir.Node) -> bool:
    if is_op(node, "Div"):
        return node.inputs[0] is not None and constant(node.inputs[0]) is not None
    return is_op(node, "Reciprocal") or _exponent(node) < 0


def _backwards(value: ir.Value, reason: str, found: dict[ir.Value, str]) -> None:
    """Marks a value and what it is computed from, as far as an error of theirs is one of it."""
    pending = [(value, False)]
    while pending:
        current, reduced = pending.pop()
        if current in found:
            continue
        found[current] = reason
        node = current.producer()
        if node is None:
            continue
        if is_op(node, *_REDUCTIONS):
            summed = node.inputs[0]
            made = None if summed is None else summed.producer()
            if summed is not None and (_is_square(made) or _is_positive(made)):
                pending.append((summed, True))
            continue
        if not reduced and _is_square(node) and _is_mean(node.inputs[0]):
            pending += [(each, True) for each in _computed(node)[:1]]  # E[x²] - E[x]² cancels
        elif not reduced and _goes_on(node):
            pending += [(each, False) for each in _computed(node)]


def _goes_on(node: ir.Node) -> bool:
    if is_op(node, "Mul", "Pow"):
        return not _is_square(node)
    return traits(node).moves_data or is_op(node, *_KEPT, *_SIGNED_SUMS)


def _forwards(value: ir.Value, reason: str, found: dict[ir.Value, str]) -> None:
    """Marks a reciprocal as far as it is only moved or scaled, and what it is multiplied with."""
    pending = [value]
    while pending:
        current = pending.pop()
        if current in found:
            continue
        found[current] = reason
        for use in uses(current):
            node = use.node
            others = [each for each in _computed(node) if each is not current]
            if (is_op(node, "Mul") and not others) or traits(node).moves_data:
                pending += list(node.outputs)
            elif is_op(node, "Mul"):
                found |= {each: reason for each in others if _is_centred(each)}


def _computed(node: ir.Node) -> list[ir.Value]:
    positions = activation_positions(node) or ((0,) if node.inputs else ())
    operands = [node.inputs[i] for i in positions]
    return [each for each in operands if each is not None and constant(each) is None]


def _is_square(node: ir.Node | None) -> bool:
    if node is None or not is_op(node, "Mul"):
        return node is not None and _exponent(node) == _SQUARE
    return node.inputs[0] is node.inputs[1]


def _is_mean(value: ir.Value | None) -> bool:
    """Whether a value is an average, moved at most."""
    node = None if value is None else value.producer()
    while node is not None and traits(node).moves_data and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return is_op(node, *_REDUCTIONS)


def _is_centred(value: ir.Value) -> bool:
    """Whether a value is a difference: what a normalization divides."""
    return is_op(value.producer(), "Sub")


def _is_positive(node: ir.Node | None) -> bool:
    """Whether a value cannot be negative: a sum of such is under a root for its size."""
    return is_op(node, "Abs", "Exp", "Relu", "Sigmoid", "Softplus", "Softmax")
