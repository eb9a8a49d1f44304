"""Values whose relative error counts: what roots, logarithms and divisors are computed from.

Integers of 8 bits have one step for all sizes. sqrt(x), log(x), 1/x and what is divided by x change
by a share of x, or more, so half a step beside a small x is as bad as losing it: a spectrum of
powers (values over five decades), the variance in a normalization that is taken apart, the sum
under a mean. Measured: silero_vad_seq keeps 2.5 dB with the sum of two squares under its root in
uint8, 20 dB without; magika 9 dB with a variance in uint8. Probabilities that a network gives are
of that kind, too: of a thousand classes or boxes most have less than a step of 1/255.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import activation_positions, traits
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, constant, is_constant, is_op, producer_of, scalar, uses

_REDUCTIONS = ("ReduceMean", "ReduceSum", "GlobalAveragePool", "AveragePool")
_SIGNED_SUMS = ("Add", "Sub", "Sum")
_SQUARE = 2.0
_POWERS = {"Sqrt": 0.5, "Log": 0.0, "Reciprocal": -1.0, "Div": -1.0}
_KEPT = ("Relu", "Clip", "Abs", "Neg", "Max", "Min", "Mul", "Cast")
"""Ops whose result's relative error is about that of their operand."""
_FEW = 4
_PROBABILITIES = ("Sigmoid", "Softmax")


@dataclass(frozen=True)
class Relative:
    """Why a share of a value counts.

    Attributes:
        reason: In words.
        power: What is computed goes with this power of the value, below 1; of a logarithm 0.
    """

    reason: str
    power: float

    @property
    def is_lost_in_steps(self) -> bool:
        """Whether the smallest sizes count as much as the largest, as in a logarithm."""
        return self.power <= 0


def relative_values(program: Program) -> dict[str, Relative]:
    """Values that want relative precision, by name.

    Backwards from such a function they are followed through data movement, clamps, sums, products
    and one reduction. A square gives back what a root takes: sqrt(x * x) has the error of x, so its
    operand is an ordinary value; log(x * x) has twice that of log(x). What is averaged without
    being squared is ordinary, too. Forwards, a reciprocal is followed to the product that it is
    for, whose other operand it multiplies by numbers of many sizes, and probabilities to the output
    that they are.
    """
    found: dict[ir.Value, Relative] = {}
    for node in all_nodes(program.model):
        for value, why in _arguments(node):
            _backwards(value, why, found)
        if _is_reciprocal(node):
            _forwards(node.outputs[0], Relative(f"'{node.name}' divides by it", -1.0), found)
        elif is_op(node, *_PROBABILITIES):
            _given_out(node.outputs[0], node, found)
    return {value.name or "": why for value, why in found.items()}


def _arguments(node: ir.Node) -> Iterator[tuple[ir.Value, Relative]]:
    """Computed operands of which a share counts, and why."""
    position = 1 if is_op(node, "Div") else 0
    power = _power(node)
    if power is None or power >= 1 or position >= len(node.inputs):
        return
    value = node.inputs[position]
    if value is not None and not is_constant(value):
        reason = f"{node.op_type} '{node.name}' wants a share of it, not a step"
        yield value, Relative(reason, power)


def _power(node: ir.Node | None) -> float | None:
    """With which power of its operand (of its divisor) a function goes, None for no power."""
    if node is None:
        return None
    if is_op(node, "Mul") and node.inputs[0] is node.inputs[1]:
        return _SQUARE
    if is_op(node, "Pow"):
        return scalar(node.inputs[1])
    return _POWERS[node.op_type] if is_op(node, *_POWERS) else None


def _is_reciprocal(node: ir.Node) -> bool:
    if is_op(node, "Div"):
        return is_constant(node.inputs[0])
    power = _power(node)
    return power is not None and power < 0


def _backwards(value: ir.Value, why: Relative, found: dict[ir.Value, Relative]) -> None:
    """Marks a value and what it is computed from, as far as an error of theirs is one of it."""
    pending = [(value, why, False)]
    while pending:
        current, own, reduced = pending.pop()
        if own.power >= 1 or (current in found and found[current].power <= own.power):
            continue
        found[current] = own
        node = current.producer()
        if node is not None:
            pending += _operands(node, own, reduced)


def _operands(
    node: ir.Node, own: Relative, reduced: bool
) -> Iterator[tuple[ir.Value, Relative, bool]]:
    """What a node computes a relative value from, as far as that is one."""
    power = _power(node)
    if is_op(node, *_REDUCTIONS):
        summed = node.inputs[0]
        made = producer_of(summed)
        if summed is not None and (_power(made) == _SQUARE or _is_positive(made)):
            yield summed, own, not _is_of_few(node)
    elif _sums_bands(node):
        yield from ((each, own, reduced) for each in _computed(node))
    elif power is not None and power > 0:
        mean = power == _SQUARE and not reduced and _is_mean(node.inputs[0])
        inner = replace(own, power=own.power if mean else own.power * power)
        if not reduced:  # of a sum of many squares, the large ones count
            yield from ((each, inner, mean) for each in _computed(node)[:1])
    elif not reduced and (traits(node).moves_data or is_op(node, *_KEPT, *_SIGNED_SUMS)):
        yield from ((each, own, False) for each in _computed(node))


def _is_of_few(node: ir.Node) -> bool:
    """Whether a reduction sums few elements, as of a complex number: then each of them counts."""
    data, given = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    axes = constant(given)
    if data is None or data.shape is None or axes is None:
        return False
    sizes = [data.shape[int(axis)] for axis in np.ravel(axes)]
    return math.prod(each if isinstance(each, int) else math.inf for each in sizes) <= _FEW


def _sums_bands(node: ir.Node) -> bool:
    """Whether a product sums what cannot be negative by weights that are not: bands of a power."""
    weight = constant(node.inputs[1]) if is_op(node, "MatMul") else None
    if weight is None and is_op(node, "MatMul"):
        weight = constant(node.inputs[0])
    return weight is not None and bool(np.all(weight >= 0))


def _given_out(value: ir.Value, node: ir.Node, found: dict[ir.Value, Relative]) -> None:
    """Marks probabilities that are only moved on their way out."""
    pending, passed = [value], []
    while pending:
        current = pending.pop()
        passed.append(current)
        for use in uses(current):
            if not traits(use.node).moves_data or is_op(use.node, "Concat"):
                return  # what is joined has a rule of its own
            pending += list(use.node.outputs)
    reason = f"small probabilities of {node.op_type} '{node.name}' are what the network gives"
    for each in passed:
        found.setdefault(each, Relative(reason, 0.0))


def _forwards(value: ir.Value, why: Relative, found: dict[ir.Value, Relative]) -> None:
    """Marks a reciprocal as far as it is only moved or scaled, and what it is multiplied with."""
    pending = [value]
    while pending:
        current = pending.pop()
        if current in found:
            continue
        found[current] = why
        for use in uses(current):
            node = use.node
            others = [each for each in _computed(node) if each is not current]
            if (is_op(node, "Mul") and not others) or traits(node).moves_data:
                pending += list(node.outputs)
            elif is_op(node, "Mul"):
                found |= {each: why for each in others if _is_centred(each)}


def _computed(node: ir.Node) -> list[ir.Value]:
    positions = activation_positions(node) or ((0,) if node.inputs else ())
    operands = [node.inputs[i] for i in positions]
    return [each for each in operands if each is not None and not is_constant(each)]


def _is_mean(value: ir.Value | None) -> bool:
    """Whether a value is an average, moved at most."""
    node = producer_of(value)
    while node is not None and traits(node).moves_data and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return is_op(node, *_REDUCTIONS)


def _is_centred(value: ir.Value) -> bool:
    """Whether a value is a difference: what a normalization divides."""
    return is_op(value.producer(), "Sub")


def _is_positive(node: ir.Node | None) -> bool:
    """Whether a value cannot be negative: a sum of such is under a root for its size."""
    return is_op(node, "Abs", "Exp", "Relu", "Sigmoid", "Softplus", "Softmax")
