"""Layers of a network and the order within each, for `layout`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 8
_MOST_STAND_INS = 3
"""Stand-ins for every vertex; the longest edges go without, drawn as one curve."""


@dataclass(frozen=True, eq=False)
class Layered:
    """Vertices and stand-ins (numbered from `count` on) in layers.

    Attributes:
        count: Vertices.
        layer: Of every vertex and stand-in.
        rows: Members of every layer, from left to right.
        before: Neighbours one layer up.
        after: Neighbours one layer down.
        chains: Stand-ins of every edge, in order.
        spans: First and last layer of every edge.
    """

    count: int
    layer: list[int]
    rows: list[list[int]]
    before: list[list[int]]
    after: list[list[int]]
    chains: list[list[int]]
    spans: list[tuple[int, int]]


def layered(count: int, edges: Sequence[tuple[int, int]]) -> Layered:
    """Longest-path layers, stand-ins, and an order with few crossings."""
    layer = _longest_path(count, edges)
    spans = [(layer[a], layer[b]) for a, b in edges]
    chains: list[list[int]] = [[] for _ in edges]
    budget = _MOST_STAND_INS * count + 100
    for number in sorted(range(len(edges)), key=lambda k: spans[k][1] - spans[k][0]):
        first, last = spans[number]
        budget -= last - first - 1
        if budget < 0:
            break
        for at in range(first + 1, last):
            chains[number].append(len(layer))
            layer.append(at)
    before: list[list[int]] = [[] for _ in layer]
    after: list[list[int]] = [[] for _ in layer]
    for (a, b), chain in zip(edges, chains, strict=True):
        path = [a, *chain, b]
        for upper, lower in pairwise(path):
            if layer[lower] == layer[upper] + 1:
                after[upper].append(lower)
                before[lower].append(upper)
    rows: list[list[int]] = [[] for _ in range(1 + max(layer))]
    for i, at in enumerate(layer):
        rows[at].append(i)
    found = Layered(count, layer, rows, before, after, chains, spans)
    _order(found)
    return found


def _longest_path(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The least layer behind all sources; what nothing leads to stands before its first reader."""
    layer = [0] * count
    first = [count] * count
    led_to = [False] * count
    for a, b in sorted(edges):  # topological: a's own layer is final when it is looked at
        layer[b] = max(layer[b], layer[a] + 1)
        led_to[b] = True
    for a, b in edges:
        first[a] = min(first[a], layer[b])
    return [
        max(0, first[i] - 1) if not led_to[i] and first[i] < count else layer[i]
        for i in range(count)
    ]


def _order(graph: Layered) -> None:
    """Barycenter sweeps, down and up."""
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        rows = graph.rows[1:] if down else graph.rows[-2::-1]
        neighbours = graph.before if down else graph.after
        rank = {i: k for row in graph.rows for k, i in enumerate(row)}
        for row in rows:
            centre = {}
            for i in row:
                near = neighbours[i]
                centre[i] = sum(rank[j] for j in near) / len(near) if near else float(rank[i])
            row.sort(key=centre.__getitem__)
            rank.update((i, k) for k, i in enumerate(row))
