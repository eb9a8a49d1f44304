"""Gives every value and node of a model one unique name, over all subgraphs.

A body may legally reuse ("shadow") an outer name and exporters leave names empty or doubled; passes
address values by name, so both end here. Names of the main graph's inputs and outputs stay.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qcompiler.ir.walk import all_graphs


class Names:
    """Names given out so far; O(1) amortised for any number of clashes."""

    def __init__(self, taken: set[str] | None = None) -> None:
        self._taken: set[str] = set() if taken is None else taken
        self._next: dict[str, int] = {}

    def take(self, wanted: str) -> str:
        """`wanted`, or `wanted_<n>` with the lowest free n."""
        if wanted not in self._taken:
            self._taken.add(wanted)
            return wanted
        number = self._next.get(wanted, 1)
        while f"{wanted}_{number}" in self._taken:
            number += 1
        self._next[wanted] = number + 1
        name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def make_names_unique(model: ir.Model) -> int:
    """Renames in place and returns how many names of values had to change. O(nodes).

    An omitted optional output (empty name, no user) stays without one: a name would ask for it.
    """
    names, changed = Names(), 0
    boundary: set[ir.Value] = set()
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value not in boundary:
            boundary.add(value)
            value.name = names.take(value.name or "value")
    for value, stem in _inner_values(model, boundary):
        name = names.take(value.name or stem)
        if name != value.name:
            value.name = name
            changed += 1
    _name_nodes(model)
    return changed


def _inner_values(model: ir.Model, boundary: set[ir.Value]) -> Iterator[tuple[ir.Value, str]]:
    """Every other value once, with the name it gets if it has none."""
    for graph in all_graphs(model):
        declared = (*graph.inputs, *graph.initializers.values())
        for value in declared:
            if value not in boundary:
                boundary.add(value)
                yield value, "value"
        for node in graph:
            for value in node.outputs:
                omitted = not value.name and not value.uses() and not value.is_graph_output()
                if value not in boundary and not omitted:
                    yield value, f"{node.op_type.lower()}_out"


def _name_nodes(model: ir.Model) -> None:
    names = Names()
    for graph in all_graphs(model):
        for node in graph:
            first = next((value.name for value in node.outputs if value.name), "unused")
            name = names.take(node.name or f"{node.op_type}_{first}")
            if name != node.name:
                node.name = name
