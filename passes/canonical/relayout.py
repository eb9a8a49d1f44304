"""Turning connected regions of images or signals into another layout with the same memory order.

What a layout is (which nodes can be turned and how) is a `Layout`; finding the regions and the
changes at their borders is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import traits
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import is_constant, is_op

POOLS = ("MaxPool", "AveragePool")


@dataclass(frozen=True)
class Change:
    """A node that writes a value in another layout.

    Attributes:
        op: Its operator.
        operand: What it reads besides: a shape (0 and -1 as ONNX has them) or axes.
        attributes: Of the node.
    """

    op: str
    operand: tuple[int, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def write(
        self, value: ir.Value, suffix: str, rewriter: Rewriter, shape: ir.Shape | None, **place: Any
    ) -> ir.Value:
        """The value, changed, at `before` or `after` a node."""
        operands = [value]
        if self.operand:
            kind = "shape" if self.op == "Reshape" else "axes"
            numbers = np.array(self.operand, np.int64)
            operands.append(rewriter.constant(numbers, f"{value.name}_{suffix}_{kind}"))
        return rewriter.insert(
            self.op,
            operands,
            attributes=self.attributes,
            outputs=(f"{value.name}_{suffix}",),
            dtype=value.dtype,
            shape=shape,
            **place,
        ).outputs[0]


@dataclass(frozen=True)
class Layout:
    """Another way to write the values of a region.

    Attributes:
        name: Suffix of the values that enter a region.
        back_name: Suffix of the values that leave it.
        shape: The new shape of a value.
        into: The change of a value at the entry.
        back: The same at the exit.
        able: Whether a node can be turned.
        triggers: Whether a node makes its region worth turning.
        turn: Rewrites attributes and constants of a node.
        keeps: Which nodes of a connected region are turned.
        ops: What triggers are; empty where they may be anything.
    """

    name: str
    back_name: str
    shape: Callable[[ir.Shape], Sequence[Any]]
    into: Callable[[ir.Value], Change]
    back: Callable[[ir.Value], Change]
    able: Callable[[ir.Node], bool]
    triggers: Callable[[ir.Node], bool]
    turn: Callable[[ir.Node, Rewriter], None]
    keeps: Callable[[set[ir.Node]], set[ir.Node]]
    ops: frozenset[str] = frozenset()


def relayout(program: Program, rewriter: Rewriter, layout: Layout) -> int:
    """Turns every connected region with a trigger; returns how many nodes were turned.

    The main graph only. O(nodes).
    """
    turned = turnable(program, layout)
    in_order = [node for node in program.graph if node in turned]
    old = {node: node.outputs[0].shape for node in in_order}
    entries: dict[ir.Value, ir.Value] = {}
    for node in in_order:
        layout.turn(node, rewriter)
        for index in data_positions(node):
            value = node.inputs[index]
            assert value is not None
            if value.producer() not in turned:
                entry = _entry(value, node, layout, entries, rewriter)
                rewriter.set_input(node, index, entry)
        node.outputs[0].shape = _shape(node.outputs[0], layout)
    for node in in_order:
        _leave(node, old[node], turned, layout, rewriter)
    return len(in_order)


def turnable(program: Program, layout: Layout) -> set[ir.Node]:
    """The nodes of the main graph that are turned."""
    if layout.ops and not any(node.op_type in layout.ops for node in program.graph):
        return set()
    able = {node for node in program.graph if layout.able(node)}
    turned: set[ir.Node] = set()
    seen: set[ir.Node] = set()
    for node in program.graph:
        if node in able and node not in seen and layout.triggers(node):
            region = connected(node, able)
            seen |= region
            turned |= layout.keeps(region)
    return turned


def data_positions(node: ir.Node) -> list[int]:
    """Operands that are images or signals."""
    if is_op(node, "Conv", "Pad", "BatchNormalization", *POOLS):
        return [0]
    return [
        index
        for index, operand in enumerate(node.inputs)
        if operand is not None and not is_constant(operand)
    ]


def connected(start: ir.Node, able: set[ir.Node]) -> set[ir.Node]:
    """What can be reached from a node through such nodes."""
    found = {start}
    pending = [start]
    while pending:
        for near in _neighbours(pending.pop()):
            if near in able and near not in found:
                found.add(near)
                pending.append(near)
    return found


def trimmed(region: set[ir.Node]) -> set[ir.Node]:
    """The region without elementwise nodes that read from outside only: they belong there."""
    left = set(region)
    while True:
        entering = {
            node for node in left if traits(node).elementwise and left.isdisjoint(_producers(node))
        }
        if not entering:
            return left
        left -= entering


def _producers(node: ir.Node) -> Iterator[ir.Node]:
    for index in data_positions(node):
        value = node.inputs[index]
        producer = None if value is None else value.producer()
        if producer is not None:
            yield producer


def _neighbours(node: ir.Node) -> Iterator[ir.Node]:
    yield from _producers(node)
    for use in node.outputs[0].uses():
        yield use.node


def _shape(value: ir.Value, layout: Layout) -> ir.Shape:
    assert value.shape is not None
    return ir.Shape(layout.shape(value.shape))


def _entry(
    value: ir.Value,
    reader: ir.Node,
    layout: Layout,
    entries: dict[ir.Value, ir.Value],
    rewriter: Rewriter,
) -> ir.Value:
    """The value in the new layout; one change for all readers."""
    if value not in entries:
        shape = _shape(value, layout)
        change = layout.into(value)
        entries[value] = change.write(value, layout.name, rewriter, shape, before=reader)
    return entries[value]


def _leave(
    node: ir.Node,
    shape: ir.Shape | None,
    turned: set[ir.Node],
    layout: Layout,
    rewriter: Rewriter,
) -> None:
    """Restores the old layout for readers outside the region."""
    value = node.outputs[0]
    if not value.is_graph_output() and all(use.node in turned for use in value.uses()):
        return
    restored = layout.back(value).write(value, layout.back_name, rewriter, shape, after=node)
    inside = [use.node for use in value.uses() if use.node in turned]
    writer = restored.producer()
    assert writer is not None
    rewriter.replace_uses(value, restored, keep=[*inside, writer])
