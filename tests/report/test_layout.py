"""The drawn places: nothing overlaps, edges go down within a column, work is bounded."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from qcompiler.report.layers import layered
from qcompiler.report.layout import HEIGHT, WIDTH, Layout, isotonic, layout_of

Edges = list[tuple[int, int]]


@st.composite
def networks(draw: st.DrawFn) -> tuple[int, Edges]:
    count = draw(st.integers(1, 60))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    found = draw(st.lists(pairs, max_size=120))
    return count, list(dict.fromkeys((min(p), max(p)) for p in found if p[0] != p[1]))


def overlaps(layout: Layout) -> int:
    return sum(
        abs(ax - bx) < WIDTH and abs(ay - by) < HEIGHT
        for (ax, ay), (bx, by) in itertools.combinations(layout.places, 2)
    )


@given(networks())
def test_boxes_do_not_overlap(network: tuple[int, Edges]) -> None:
    count, edges = network
    layout = layout_of(count, edges)
    assert len(layout.places) == count
    assert len(layout.bends) == len(edges)
    assert overlaps(layout) == 0


@given(networks())
def test_every_edge_goes_to_a_later_layer(network: tuple[int, Edges]) -> None:
    count, edges = network
    graph = layered(count, edges)
    assert all(graph.layer[a] < graph.layer[b] for a, b in edges)
    for (a, b), chain in zip(edges, graph.chains, strict=True):
        if chain:
            assert [graph.layer[i] for i in chain] == list(
                range(graph.layer[a] + 1, graph.layer[b])
            )


def test_overlap_would_be_seen() -> None:
    assert overlaps(Layout(((0.0, 0.0), (WIDTH / 2, 0.0)), ())) == 1


def test_a_chain_is_straight_and_fills_columns() -> None:
    layout = layout_of(200, [(i, i + 1) for i in range(199)])
    columns = {x for x, _ in layout.places}
    assert 3 <= len(columns) <= 20
    wide = max(columns) - min(columns)
    tall = max(y for _, y in layout.places)
    assert 0.8 < wide / tall < 3.5


def test_a_skip_connection_stands_beside_its_block() -> None:
    layout = layout_of(5, [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4)])
    (bends,) = [each for each in layout.bends if each]
    assert len(bends) == 2
    assert all(abs(x - px) > WIDTH / 2 for (x, y) in bends for (px, py) in layout.places if y == py)


@pytest.mark.parametrize("length", [1, 5, 40])
def test_isotonic_is_the_nearest_rising_sequence(length: int) -> None:
    rng = np.random.default_rng(length)
    values, weights = rng.normal(size=length), rng.uniform(0.5, 8.0, length)
    wanted = isotonic_regression(values, weights=weights).x
    np.testing.assert_allclose(isotonic(values.tolist(), weights.tolist()), wanted, atol=1e-9)


def test_long_edges_do_not_multiply_the_work() -> None:
    # 3 000 edges over 1 500 layers would take 2 million stand-ins.
    chain = [(i, i + 1) for i in range(2999)]
    rng = random.Random(0)
    far = [(a, b) for a in range(1500) for b in (a + 1500 - rng.randrange(9), a + 1490)]
    graph = layered(3000, list(dict.fromkeys(chain + far)))
    assert len(graph.layer) <= 4 * 3000 + 100


def test_residual_blocks_do_not_drift_to_the_side_of_their_skips() -> None:
    edges: Edges = []
    for i in range(0, 27, 3):  # a block is two layers and the sum, which the skip goes around to
        edges += [(i, i + 1), (i + 1, i + 2), (i + 2, i + 3), (i, i + 3)]
    layout = layout_of(28, edges)
    across = [x for x, _ in layout.places]
    assert max(across) - min(across) < 5.0
