"""`scaled_values`: one walk over the main graph that finds every scale which may be chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.walk import bodies, is_op, is_stored, rank
from qcompiler.passes.equalization.channel_map import ChannelMap
from qcompiler.passes.equalization.constraints import Clamp, Fold, Freedom
from qcompiler.passes.equalization.elementwise import ELEMENTWISE, is_float
from qcompiler.passes.equalization.movers import MOVERS
from qcompiler.passes.equalization.products import PRODUCTS
from qcompiler.passes.equalization.scope import Rule, Scope

RULES: Mapping[str, Rule] = MappingProxyType({**ELEMENTWISE, **MOVERS, **PRODUCTS})
"""What is known of scales, by operator; another operator allows none around it."""


@dataclass(frozen=True, eq=False)
class Scales:
    """The scales of a program that may be chosen.

    Attributes:
        freedom: Which of them move together.
        maps: Slots of values.
        folds: Constants that take them up.
        clamps: Bounds that they have to keep.
    """

    freedom: Freedom
    maps: Mapping[ir.Value, ChannelMap]
    folds: tuple[Fold, ...]
    clamps: tuple[Clamp, ...]


def scaled_values(program: Program) -> Scales:
    """Every per-channel scale that can be put on a value without changing any output.

    A scale begins at a constant that takes it up (a weight's output channels, a norm's gain, a
    vector that is multiplied with), passes what is homogeneous, and ends at a constant on the other
    side. Outputs of the graph, what bodies (If, Loop, Scan) read, and what stands at an operator
    without a rule or beside a value of unknown rank have the scale 1.
    """
    scope = Scope()
    for node in program.graph:
        if is_op(node, "Shape", "Size"):
            continue
        made = None
        rule = RULES.get(node.op_type) if is_op(node, node.op_type) else None
        if rule is not None and is_float(node.outputs[0]) and _has_ranks(node):
            made = None if _is_stored(node) else rule(node, scope)
        if made is None:
            scope.pin(*node.inputs)
            continue
        for output, found in zip(node.outputs, made, strict=False):
            if not found.is_fixed and rank(output) == found.slots.ndim:
                scope.maps[output] = found
            elif not found.is_fixed:
                scope.constraints.pin(found)
    scope.pin(*program.graph.outputs, *_captured(program))
    known = scope.constraints
    return Scales(known.solved(), scope.maps, tuple(known.folds), tuple(known.clamps))


def _has_ranks(node: ir.Node) -> bool:
    """Whether it is known how many axes everything around it has: slots are laid out along them."""
    around = (*node.inputs, *node.outputs)
    return all(value is None or not value.name or rank(value) is not None for value in around)


def _is_stored(node: ir.Node) -> bool:
    return all(value is None or is_stored(value) for value in node.inputs) and not is_op(
        node, "Gather"
    )


def _captured(program: Program) -> list[ir.Value]:
    """Values that bodies use, which no rule has seen."""
    inner = [body for node in program.graph for body in bodies(node)]
    found: list[ir.Value] = []
    while inner:
        body = inner.pop()
        found.extend(body.outputs)
        for node in body:
            found += [value for value in node.inputs if value is not None]
            inner += bodies(node)
    return found
