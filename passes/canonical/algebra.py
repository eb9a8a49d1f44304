"""Reading arithmetic out of a graph: factors of a product, polynomials in one value, closedness."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from qcompiler.ir.walk import is_op, rank, scalar, uses

Polynomial = Mapping[int, float]
"""Coefficients by power of the variable."""

_MAX_DEPTH = 8
_MAX_DEGREE = 4
_CLOSE = 2e-6
"""Relative: float32 constants such as 1/6 and sqrt(2/pi) are off by up to 6e-8, and exporters fold
products of two or three of them, some rounded to seven digits."""


def close(a: float, b: float, tolerance: float = _CLOSE) -> bool:
    """Whether two constants are meant to be the same number."""
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance * 1e-3)


def operand_and_scalar(node: ir.Node | None) -> tuple[ir.Value, float] | None:
    """The computed operand and the one-element constant of a binary node, in either order.

    None if there is no such constant or if it would raise the rank of the result.
    """
    if node is None or len(node.inputs) != 2:
        return None
    for index in (0, 1):
        number, other = scalar(node.inputs[index]), node.inputs[1 - index]
        if number is None or other is None or scalar(other) is not None:
            continue
        return (other, number) if keeps_rank(node.inputs[index], other) else None
    return None


def keeps_rank(constant: ir.Value | None, other: ir.Value) -> bool:
    """Whether broadcasting a one-element constant with `other` gives `other`'s shape."""
    ours, theirs = rank(constant), rank(other)
    return ours == 0 or (ours is not None and theirs is not None and ours <= theirs)


@dataclass(frozen=True)
class Product:
    """A product: computed factors, one number, and the interior nodes that formed it."""

    factors: tuple[ir.Value, ...]
    number: float
    nodes: frozenset[ir.Node]


def product(root: ir.Node) -> Product:
    """Takes a tree of Mul nodes apart; interior values have one user."""
    factors: list[ir.Value] = []
    number = 1.0
    nodes: set[ir.Node] = {root}
    pending = [root]
    while pending:
        node = pending.pop()
        for index, operand in enumerate(node.inputs):
            constant = scalar(operand)
            if operand is None:
                continue
            if constant is not None and keeps_rank(operand, _other(node, index)):
                number *= constant
                continue
            inner = operand.producer()
            if inner is not None and is_op(inner, "Mul") and _only_used_by(operand, node):
                nodes.add(inner)
                pending.append(inner)
            else:
                factors.append(operand)
    return Product(tuple(factors), number, frozenset(nodes))


def _other(node: ir.Node, index: int) -> ir.Value:
    other = node.inputs[1 - index]
    assert other is not None
    return other


def _only_used_by(value: ir.Value, node: ir.Node) -> bool:
    found = uses(value)
    return len(found) == 1 and found[0].node is node and not value.is_graph_output()


def polynomial(value: ir.Value, variable: ir.Value, nodes: set[ir.Node]) -> Polynomial | None:
    """`value` as a polynomial in `variable`, None if it is none of low degree.

    Args:
        value: The value to read.
        variable: The value that counts as x.
        nodes: Receives the nodes between the two.
    """
    return _read(value, variable, nodes, _MAX_DEPTH)


def _read(
    value: ir.Value | None, variable: ir.Value, nodes: set[ir.Node], depth: int
) -> Polynomial | None:
    if value is variable:
        return {1: 1.0}
    number = scalar(value)
    if number is not None:
        return {0: number} if rank(value) == 0 or keeps_rank(value, variable) else None
    node = None if value is None else value.producer()
    if depth == 0 or node is None or not is_op(node, "Add", "Sub", "Mul", "Pow", "Neg"):
        return None
    parts = [_read(operand, variable, nodes, depth - 1) for operand in node.inputs]
    result = _combine(node.op_type, [part for part in parts if part is not None], len(parts))
    if result is not None:
        nodes.add(node)
    return result


def _combine(op: str, parts: list[Polynomial], expected: int) -> Polynomial | None:
    if len(parts) != expected:
        return None
    if op == "Neg":
        return _sum({}, parts[0], -1.0)
    left, right = parts
    if op == "Mul":
        return _times(left, right)
    if op == "Pow":
        return _power(left, right)
    return _sum(left, right, -1.0 if op == "Sub" else 1.0)


def _sum(left: Polynomial, right: Polynomial, sign: float) -> Polynomial:
    result = dict(left)
    for power, factor in right.items():
        result[power] = result.get(power, 0.0) + sign * factor
    return result


def _times(left: Polynomial, right: Polynomial) -> Polynomial | None:
    result: dict[int, float] = {}
    for p, a in left.items():
        for q, b in right.items():
            result[p + q] = result.get(p + q, 0.0) + a * b
    return result if max(result, default=0) <= _MAX_DEGREE else None


def _power(base: Polynomial, exponent: Polynomial) -> Polynomial | None:
    number = exponent.get(0, 0.0)
    if set(exponent) != {0} or number not in (1.0, 2.0, 3.0):
        return None
    result: Polynomial | None = base
    for _ in range(int(number) - 1):
        result = None if result is None else _times(result, base)
    return result


def matches(found: Polynomial | None, wanted: Polynomial) -> bool:
    """Whether two polynomials have the same coefficients."""
    if found is None:
        return False
    powers = set(found) | set(wanted)
    return all(close(found.get(p, 0.0), wanted.get(p, 0.0)) for p in powers)


def is_closed(nodes: Iterable[ir.Node], root: ir.Node) -> bool:
    """Whether nobody outside reads a value computed inside; `root`'s own output is free."""
    inside = {*nodes, root}
    for node in inside - {root}:
        for output in node.outputs:
            if output.is_graph_output() or any(use.node not in inside for use in uses(output)):
                return False
    return True
