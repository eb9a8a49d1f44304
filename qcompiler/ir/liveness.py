"""Liveness: which values are held when, and the peak of the bytes held where shapes are known."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import onnx_ir as ir

from qcompiler.ir.dataflow import captures
from qcompiler.ir.program import Program


@dataclass(frozen=True)
class Liveness:
    """Memory of the main graph's computed values and inputs, executed in graph order.

    Weights are not counted. Values of bodies belong to the node that holds the body and are not
    counted either.

    Attributes:
        peak_bytes: Most bytes held at one moment, over the values of known size.
        peak_node: The node during which that is; None for an empty graph.
        unknown: Names of values without a static shape or type, which `peak_bytes` leaves out.
        last_use: By value name, the position of the last node that reads it; graph outputs have the
            number of nodes.
    """

    peak_bytes: int
    peak_node: ir.Node | None
    unknown: tuple[str, ...]
    last_use: dict[str, int]


def liveness(program: Program) -> Liveness:
    """Computes liveness in graph order. O(nodes + uses).

    During a node its operands and outputs are held together; a value is freed after its last
    reader, an output that nobody reads right after its producer. Graph inputs are held from the
    start and freed likewise; graph outputs are held to the end.
    """
    nodes = list(program.graph)
    last_use = _last_uses(program.graph, nodes)
    ends: Counter[int] = Counter()
    held = peak = 0
    peak_node: ir.Node | None = None
    unknown: list[str] = []
    for position, node in enumerate([None, *nodes], start=-1):
        begun = program.graph.inputs if node is None else node.outputs
        for value in begun:
            size = value_bytes(value)
            if size is None:
                unknown.append(value.name or "")
                continue
            held += size
            ends[last_use.get(value, position)] += size
        if node is not None and held > peak:
            peak, peak_node = held, node
        held -= ends.pop(position, 0)
    named = {value.name or "": position for value, position in last_use.items()}
    return Liveness(peak, peak_node, tuple(unknown), named)


def value_bytes(value: ir.Value) -> int | None:
    """Bytes of a value of static shape and known type (4-bit types take half a byte), else None."""
    if value.shape is None or value.dtype is None or not value.shape.is_static():
        return None
    if value.dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED):
        return None
    return math.ceil(math.prod(value.shape.numpy()) * value.dtype.itemsize)


def _last_uses(graph: ir.Graph, nodes: list[ir.Node]) -> dict[ir.Value, int]:
    found: dict[ir.Value, int] = {}
    for position, node in enumerate(nodes):
        for value in (*node.inputs, *captures(node)):
            if value is not None and not value.is_initializer():
                found[value] = position
    found.update((value, len(nodes)) for value in graph.outputs)
    return found
