"""`Block`: a stretch of the main graph between values that few nodes behind it still read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf

import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.walk import bodies, is_constant, is_op, values_of_constants


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive nodes of a graph, with what they read and what is read of them.

    Attributes:
        nodes: In graph order.
        inputs: Values from outside: inputs of the graph, or results of earlier blocks.
        outputs: Results that later nodes read, or that are outputs of the graph.
    """

    nodes: tuple[ir.Node, ...]
    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]


def find_blocks(
    program: Program,
    anchors: Collection[ir.Node],
    most: int,
    whole: Iterable[Sequence[ir.Node]] = (),
) -> list[Block]:
    """The main graph in blocks, each with one to about `most` of the anchors.

    A block ends where a single floating-point value is all that goes on (behind a residual
    addition, not inside one), so that an error at its end is all that it adds. Where that does not
    come within twice the anchors, it ends where fewest values go on.

    Args:
        program: Its main graph is divided; bodies stay with their nodes.
        anchors: Nodes that a block is about.
        most: Anchors of one block at which it ends at the first chance.
        whole: Nodes that stay in one block: those of a region, which is one kernel.
    """
    nodes = [node for node in program.graph if not is_op(node, "Constant")]
    flow = _Flow.of(program, nodes, whole)
    starts, held = [0], 0
    for index, node in enumerate(nodes[:-1]):
        held += node in anchors
        if held and (_ends(flow, index, held, nodes, anchors, most)):
            starts.append(index + 1)
            held = 0
    ends = [*starts[1:], len(nodes)]
    return [flow.block(nodes, a, b) for a, b in zip(starts, ends, strict=True) if b > a]


def _ends(
    flow: _Flow,
    index: int,
    held: int,
    nodes: Sequence[ir.Node],
    anchors: Collection[ir.Node],
    most: int,
) -> bool:
    """Whether a block with so many anchors ends behind a node."""
    here = flow.going_on[index]
    if here == inf:
        return False
    if here > 1:
        return held >= 2 * most and here <= min(flow.going_on[index + 1 : index + 4])
    more = 0
    for later in range(index + 1, len(nodes)):
        more += nodes[later] in anchors
        if more and (flow.going_on[later] <= 1 or held + more > most):
            return held + more > most
    return False


@dataclass(frozen=True, eq=False)
class _Flow:
    """What goes on from node to node.

    Attributes:
        first: Index of the node that computes a value; -1 for inputs of the graph.
        last: Index of the last node that reads it, all nodes for outputs of the graph.
        going_on: How many computed floating-point values are read behind each node; infinitely many
            inside what stays whole.
    """

    first: Mapping[ir.Value, int]
    last: Mapping[ir.Value, int]
    going_on: Sequence[float]

    @classmethod
    def of(
        cls, program: Program, nodes: Sequence[ir.Node], whole: Iterable[Sequence[ir.Node]]
    ) -> _Flow:
        first = dict.fromkeys(program.graph.inputs, -1)
        first |= {value: i for i, node in enumerate(nodes) for value in node.outputs}
        last = {value: i for i, node in enumerate(nodes) for value in reads(node) if value in first}
        last |= dict.fromkeys((each for each in program.graph.outputs if each in first), len(nodes))
        stored = values_of_constants(program.model)
        changes = [0] * (len(nodes) + 1)
        for value, end in last.items():
            floating = value.dtype is None or value.dtype.is_floating_point()
            if floating and value not in stored and not is_constant(value):
                changes[max(first[value], 0)] += 1
                changes[end] -= 1
        going_on: list[float] = list(accumulate(changes))
        place = {node: index for index, node in enumerate(nodes)}
        for group in whole:
            inside = [place[node] for node in group if node in place]
            for index in range(min(inside, default=0), max(inside, default=0)):
                going_on[index] = inf
        return cls(first, last, going_on)

    def block(self, nodes: Sequence[ir.Node], start: int, end: int) -> Block:
        inside = nodes[start:end]
        given = (value for node in inside for value in reads(node))
        inputs = dict.fromkeys(
            value
            for value in given
            if self.first.get(value, end) < start and not is_constant(value)
        )
        outputs = (
            value for node in inside for value in node.outputs if self.last.get(value, -1) >= end
        )
        return Block(tuple(inside), tuple(inputs), tuple(outputs))


def reads(node: ir.Node) -> Iterator[ir.Value]:
    """Operands of a node, and what its bodies read, whatever graph that is from."""
    yield from (value for value in node.inputs if value is not None)
    for body in bodies(node):
        yield from body.outputs
        for inner in body:
            yield from reads(inner)
