"""Where to draw the vertices of a network: layers, few crossings, straight lines, several columns.

The method of Sugiyama, Tagawa & Toda (Methods for visual understanding of hierarchical system
structures, IEEE SMC-11, 1981): longest-path layers, stand-ins where an edge passes a layer,
barycenter ordering. Places within a layer are the nearest to the neighbours' that keep the order
and the gaps, which is isotonic regression (pool adjacent violators). A network of many layers is
broken into columns, where few edges cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qcompiler.report.layers import Layered, layered

WIDTH, HEIGHT = 160.0, 44.0
"""Size of a drawn vertex."""
_GAP = 24.0
_THIN = 18.0
"""Width that an edge takes where it passes a layer."""
_STEP = 80.0
"""Distance of two layers."""
_COLUMN_GAP = 140.0
_SWEEPS = 6
_FIRM = 1e4
"""How much more a vertex out of place matters than an edge that is not straight."""
_ASPECT = 1.7
"""Width over height of the whole drawing, if it has many layers."""
_LEAST_LAYERS = 30
"""Networks of fewer layers stay in one column."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Centres of the vertices, and for every edge the points that it passes between its ends."""

    places: tuple[Point, ...]
    bends: tuple[tuple[Point, ...], ...]


def layout_of(count: int, edges: Sequence[tuple[int, int]]) -> Layout:
    """Places of `count` vertices in topological order.

    Args:
        count: Vertices.
        edges: Pairs (a, b) with a < b. Their order is that of `bends`.
    """
    if count == 0:
        return Layout((), ())
    graph = layered(count, edges)
    across = _across(graph)
    columns = _columns(graph, across)
    places = [columns.place(across[i], graph.layer[i]) for i in range(len(across))]
    bends = tuple(tuple(places[i] for i in chain) for chain in graph.chains)
    return Layout(tuple(places[:count]), bends)


def _across(graph: Layered) -> list[float]:
    """The coordinate within the layer, of vertices and stand-ins."""
    place = [0.0] * len(graph.layer)
    for row in graph.rows:
        at = 0.0
        for i in row:
            place[i] = at
            at += _room(graph, i) + _GAP
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in graph.rows if down else reversed(graph.rows):
            _settle(graph, row, place, graph.before if down else graph.after)
    return place


def _settle(
    graph: Layered, row: Sequence[int], place: list[float], neighbours: Sequence[Sequence[int]]
) -> None:
    """Moves a layer as near to its neighbours as order and gaps allow."""
    wanted, weights, offsets, at = [], [], [], 0.0
    for k, i in enumerate(row):
        if k:
            at += (_room(graph, row[k - 1]) + _room(graph, i)) / 2 + _GAP
        near = _aligned(graph, i, neighbours[i])
        goal = sum(place[j] for j in near) / len(near) if near else place[i]
        wanted.append(goal - at)
        offsets.append(at)
        # The main path stays where it is, and what goes around it gives way.
        weights.append(1.0 if i >= graph.count else _FIRM)
    for i, offset, fitted in zip(row, offsets, isotonic(wanted, weights), strict=True):
        place[i] = fitted + offset


def _aligned(graph: Layered, i: int, near: Sequence[int]) -> Sequence[int]:
    """What a vertex stands below: vertices rather than edges that go around.

    A column of residual blocks would drift to the side of its skips.
    """
    if i >= graph.count:
        return near
    return [j for j in near if j < graph.count] or near


def isotonic(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The nearest sequence that does not fall, in the weighted sum of squares."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(values, weights, strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (m, v, a), (n, w, b) = blocks[-2:]
            blocks[-2:] = [((m * v + n * w) / (v + w), v + w, a + b)]
    return [mean for mean, _, length in blocks for _ in range(length)]


def _room(graph: Layered, i: int) -> float:
    return WIDTH if i < graph.count else _THIN


@dataclass(frozen=True)
class _Columns:
    """First layer of every column, and how far it is moved to the right."""

    starts: tuple[int, ...]
    shifts: tuple[float, ...]

    def place(self, across: float, layer: int) -> Point:
        column = max(k for k, start in enumerate(self.starts) if start <= layer)
        return across + self.shifts[column], (layer - self.starts[column]) * _STEP


def _columns(graph: Layered, across: Sequence[float]) -> _Columns:
    layers = len(graph.rows)
    starts = _breaks(graph, _how_many(graph, across)) if layers >= _LEAST_LAYERS else (0,)
    shifts, edge = [], 0.0
    for start, end in zip(starts, (*starts[1:], layers), strict=True):
        left, right = _extent(graph, across, range(start, end))
        shifts.append(edge - left)
        edge += right - left + _COLUMN_GAP
    return _Columns(starts, tuple(shifts))


def _extent(graph: Layered, across: Sequence[float], layers: range) -> tuple[float, float]:
    """Left and right end of some layers."""
    ends = [
        (across[i] - _room(graph, i) / 2, across[i] + _room(graph, i) / 2)
        for layer in layers
        for i in graph.rows[layer]
    ]
    return min(left for left, _ in ends), max(right for _, right in ends)


def _how_many(graph: Layered, across: Sequence[float]) -> int:
    """Columns that give the drawing its aspect."""
    layers = len(graph.rows)
    left, right = _extent(graph, across, range(layers))
    width = right - left + _COLUMN_GAP
    wanted = (_ASPECT * layers * _STEP / width) ** 0.5
    return int(max(1, min(layers // 8, round(wanted))))


def _breaks(graph: Layered, count: int) -> tuple[int, ...]:
    """First layers of `count` columns of about the same height, where few edges cross."""
    layers = len(graph.rows)
    crossing = [0] * (layers + 1)
    for a, b in graph.spans:
        crossing[a + 1] += 1
        crossing[b + 1 if b < layers else layers] -= 1
    for layer in range(1, layers + 1):
        crossing[layer] += crossing[layer - 1]
    starts, reach = [0], max(1, layers // (6 * count))
    for k in range(1, count):
        middle = k * layers // count
        near = range(max(starts[-1] + 2, middle - reach), min(layers - 2, middle + reach) + 1)
        if near:
            costs = {i: (crossing[i], abs(i - middle)) for i in near}
            starts.append(min(near, key=costs.__getitem__))
    return tuple(starts)
