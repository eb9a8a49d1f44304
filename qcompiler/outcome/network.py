"""The graph of regions and of the nodes between them, and why those are in none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import onnx_ir as ir

from qcompiler.decisions.outside import outside_reason
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.indices import size_values
from qcompiler.ir.origin import module_path, source_line
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.walk import bodies, is_constant
from qcompiler.outcome.rows import shape_of
from qcompiler.report.network import Network, Vertex
from qcompiler.target.contract import Target


def network_of(program: Program, regions: Sequence[Region], target: Target) -> Network:
    """What a report draws of a program.

    Nodes inside bodies of If, Loop and Scan come before the node that holds them, which reads
    their results. Constants are left out.

    Args:
        program: The program that the regions were found in.
        regions: In the order of the report's rows.
        target: Says why nodes are in no region.
    """
    builder = _Builder(regions)
    for value in program.graph.inputs:
        builder.add(Vertex(value.name or "", "input", shape=shape_of(value)), [], [value])
    sizes = size_values(program)
    for node in _inner_first(program.graph):
        region = builder.region_ending_at(node)
        if region is not None:
            builder.add_region(region)
        elif not builder.is_inside(node) and not _is_constant(node):
            builder.add(_outside(node, sizes, target), _reads(node), node.outputs)
    for value in program.graph.outputs:
        builder.add(Vertex(value.name or "", "output", shape=shape_of(value)), [value], [])
    return Network(tuple(builder.vertices), tuple(builder.edges))


class _Builder:
    def __init__(self, regions: Sequence[Region]) -> None:
        self.vertices: list[Vertex] = []
        self.edges: dict[tuple[int, int], None] = {}
        self._makers: dict[ir.Value, int] = {}
        self._rows = {region: row for row, region in enumerate(regions)}
        self._ends = {region.nodes[-1]: region for region in regions}
        self._inside = {node for region in regions for node in region.nodes}

    def region_ending_at(self, node: ir.Node) -> Region | None:
        return self._ends.get(node)

    def is_inside(self, node: ir.Node) -> bool:
        return node in self._inside

    def add_region(self, region: Region) -> None:
        made = {value for node in region.nodes for value in node.outputs}
        reads = [value for node in region.nodes for value in _reads(node) if value not in made]
        vertex = Vertex(
            region.key,
            "+".join(node.op_type for node in region.nodes),
            self._rows[region],
            shape_of(region.output),
            module_path(region.anchor),
            source_line(region.anchor),
        )
        self.add(vertex, reads, list(made))

    def add(self, vertex: Vertex, reads: Sequence[ir.Value], writes: Sequence[ir.Value]) -> None:
        number = len(self.vertices)
        self.vertices.append(vertex)
        sources = [self._makers[value] for value in reads if value in self._makers]
        self.edges |= dict.fromkeys((source, number) for source in sources)
        self._makers |= dict.fromkeys(writes, number)


def _inner_first(graph: ir.Graph) -> Iterator[ir.Node]:
    for node in graph:
        for body in bodies(node):
            yield from _inner_first(body)
        yield node


def _reads(node: ir.Node) -> list[ir.Value]:
    """Inputs, and what the node's bodies hand out."""
    handed = [value for body in bodies(node) for value in body.outputs]
    return [value for value in (*node.inputs, *handed) if value is not None]


def _outside(node: ir.Node, sizes: frozenset[ir.Value], target: Target) -> Vertex:
    written = next((each for each in node.outputs if each.name), None)
    return Vertex(
        node.name or "",
        node.op_type,
        shape="" if written is None else shape_of(written),
        module=module_path(node),
        source=source_line(node),
        note=outside_reason(node, sizes, target),
    )


def _is_constant(node: ir.Node) -> bool:
    return bool(node.outputs) and all(is_constant(value) for value in node.outputs)


def floats_outside(network: Network, target: Target) -> tuple[Diagnostic, ...]:
    """Which ops that compute in float are in no region, so that no row says why they are float."""
    floats = [each.label for each in network.outside if each.shape.startswith(_FLOATS)]
    if not floats:
        return ()
    listed = ", ".join(f"{count} {name}" for name, count in Counter(floats).most_common())
    told = f"ops that {target.name} has no quantized form of run in float: {listed}"
    return (Diagnostic(Severity.INFO, "REGION00", told),)


_FLOATS = ("float", "bfloat", "double")
