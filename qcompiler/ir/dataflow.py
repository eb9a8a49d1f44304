"""The program as a `networkx.DiGraph`: reachability, components, longest path, cuts, liveness.

A node of the graph is an `ir.Node`; an edge from producer to user has the `values` that it carries.
Nodes of bodies (If, Loop, Scan) are in the view too. A value that a body captures from outside is
an edge to its user and one to the node that holds the body; a body's results are edges to the
holder. Body inputs (loop state) are bound by the holder: their readers have no edge from outside.
Views are snapshots: build a new one after an edit. Everything here is linear in nodes plus edges.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import networkx as nx
import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_graphs, bodies


def dataflow(program: Program) -> nx.DiGraph:
    """The view of the main graph and all its subgraphs. O(nodes + uses).

    Edges have `values`, a tuple of the values carried; a node that holds bodies has the attribute
    `bodies`, the tuple of its subgraphs. Node order is graph order, the main graph first.
    """
    view = nx.DiGraph()
    for graph in all_graphs(program.model):
        for node in graph:
            view.add_node(node, bodies=tuple(bodies(node)))
    for node in list(view):
        for value in dict.fromkeys((*_operands(node), *captures(node), *_results(node))):
            producer = value.producer()
            if producer is not None:
                _add_edge(view, producer, node, value)
    return view


def _add_edge(view: nx.DiGraph, producer: ir.Node, user: ir.Node, value: ir.Value) -> None:
    carried: tuple[ir.Value, ...] = ()
    if view.has_edge(producer, user):
        carried = view.edges[producer, user]["values"]
    view.add_edge(producer, user, values=(*carried, value))


def captures(node: ir.Node) -> tuple[ir.Value, ...]:
    """Values from outside that the node's bodies use, at any depth, without repetition."""
    outer: dict[ir.Value, None] = {}
    for body in bodies(node):
        own, used = _defined_and_used(body)
        outer.update((value, None) for value in used if value not in own)
    return tuple(outer)


def _defined_and_used(graph: ir.Graph) -> tuple[set[ir.Value], list[ir.Value]]:
    """Values that the graph and its subgraphs define, and those they read, in order."""
    own: set[ir.Value] = set()
    used: list[ir.Value] = []
    pending = [graph]
    while pending:
        current = pending.pop()
        own.update(current.inputs)
        own.update(current.initializers.values())
        used.extend(current.outputs)
        for node in current:
            own.update(node.outputs)
            used.extend(_operands(node))
            pending.extend(bodies(node))
    return own, used


def _results(node: ir.Node) -> Iterator[ir.Value]:
    return (value for body in bodies(node) for value in body.outputs)


def _operands(node: ir.Node) -> Iterator[ir.Value]:
    return (value for value in node.inputs if value is not None)


def downstream(view: nx.DiGraph, starts: Iterable[ir.Node]) -> set[ir.Node]:
    """Nodes that can be reached from any of `starts`, these included."""
    return _reach(view.successors, starts)


def upstream(view: nx.DiGraph, ends: Iterable[ir.Node]) -> set[ir.Node]:
    """Nodes that any of `ends` depends on, these included."""
    return _reach(view.predecessors, ends)


def _reach(
    neighbours: Callable[[ir.Node], Iterator[ir.Node]], starts: Iterable[ir.Node]
) -> set[ir.Node]:
    """One search from all starts together, so linear in the graph and not in starts × graph."""
    found = set(starts)
    pending = list(found)
    while pending:
        fresh = [node for node in neighbours(pending.pop()) if node not in found]
        found.update(fresh)
        pending.extend(fresh)
    return found


def components(view: nx.DiGraph, keep: Callable[[ir.Node], bool]) -> list[list[ir.Node]]:
    """Connected groups of the nodes that `keep` accepts, in graph order, members in graph order."""
    position = {node: index for index, node in enumerate(view)}
    kept = view.subgraph([node for node in view if keep(node)])
    groups = [
        sorted(group, key=position.__getitem__) for group in nx.weakly_connected_components(kept)
    ]
    return sorted(groups, key=lambda group: position[group[0]])


def longest_path(
    view: nx.DiGraph, cost: Callable[[ir.Node], float] = lambda _: 1.0
) -> tuple[list[ir.Node], float]:
    """The path with the highest sum of node costs (the critical path), and that sum.

    Raises:
        networkx.NetworkXUnfeasible: The graph has a cycle, so it is no program.
    """
    best: dict[ir.Node, tuple[float, ir.Node | None]] = {}
    for node in nx.topological_sort(view):
        before = [(best[parent][0], parent) for parent in view.predecessors(node)]
        total, parent = max(before, key=lambda item: item[0], default=(0.0, None))
        best[node] = (total + cost(node), parent)
    if not best:
        return [], 0.0
    end: ir.Node | None = max(best, key=lambda node: best[node][0])
    total = best[end][0] if end is not None else 0.0
    path: list[ir.Node] = []
    while end is not None:
        path.append(end)
        end = best[end][1]
    return path[::-1], total


@dataclass(frozen=True)
class Cut:
    """A split of items in two at the least cost.

    Attributes:
        first: Items on the first side (say, integer), in the order given.
        second: The others (say, float).
        cost: Unary costs of both sides plus the costs of the cut edges.
    """

    first: tuple[Hashable, ...]
    second: tuple[Hashable, ...]
    cost: float


def minimum_cut(
    first_cost: Mapping[Hashable, float],
    second_cost: Mapping[Hashable, float],
    edges: Iterable[tuple[Hashable, Hashable, float]],
) -> Cut:
    """Assigns each item to one of two sides at the least total cost, exactly.

    An item costs `first_cost` or `second_cost`, and each edge whose ends are on different sides
    costs its weight (say, the conversion between integer and float). This is a binary energy with
    pairwise terms that are submodular, so a minimum s-t cut is optimal (Kolmogorov & Zabih, "What
    energy functions can be minimized via graph cuts?", PAMI 2004). Infinite costs forbid a side.

    Args:
        first_cost: Cost ≥ 0 of each item on the first side; its keys are the items.
        second_cost: Cost ≥ 0 of each item on the second side.
        edges: (item, item, weight ≥ 0).

    Raises:
        ValueError: A cost is negative or not a number, the keys differ, an edge names an unknown
            item, or an item has infinite cost on both sides.
    """
    listed = list(edges)
    _check_costs(first_cost, second_cost, listed)
    network = nx.DiGraph()
    source, sink = object(), object()
    network.add_nodes_from([source, sink])
    for item in first_cost:
        # An item on the second side cuts its edge from the source, and the reverse.
        _add_capacity(network, source, item, second_cost[item])
        _add_capacity(network, item, sink, first_cost[item])
    for one, other, weight in listed:
        _add_capacity(network, one, other, weight)
        _add_capacity(network, other, one, weight)
    cost, (reached, _) = nx.minimum_cut(network, source, sink)
    first = tuple(item for item in first_cost if item in reached)
    second = tuple(item for item in first_cost if item not in reached)
    return Cut(first, second, float(cost))


def _add_capacity(network: nx.DiGraph, tail: object, head: object, amount: float) -> None:
    """Adds to an edge's capacity; networkx takes an edge without one as infinite."""
    if tail is head:
        return
    before = network.edges[tail, head]["capacity"] if network.has_edge(tail, head) else 0.0
    network.add_edge(tail, head, capacity=before + amount)


def _check_costs(
    first: Mapping[Hashable, float],
    second: Mapping[Hashable, float],
    edges: list[tuple[Hashable, Hashable, float]],
) -> None:
    if first.keys() != second.keys():
        raise ValueError("first_cost and second_cost name different items")
    amounts = [*first.values(), *second.values(), *(weight for _, _, weight in edges)]
    if not all(amount >= 0 for amount in amounts):
        raise ValueError("costs and weights must be 0 or more")
    stuck = [item for item in first if first[item] == second[item] == float("inf")]
    if stuck:
        raise ValueError(f"{stuck[0]!r} may be on neither side")
    unknown = [end for one, other, _ in edges for end in (one, other) if end not in first]
    if unknown:
        raise ValueError(f"an edge names {unknown[0]!r}, which is no item")
