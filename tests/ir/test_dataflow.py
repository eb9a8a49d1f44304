"""The networkx view, searches, cuts and liveness, against brute force and hand-counted graphs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Hashable

import hypothesis.strategies as st
import networkx as nx
import onnx_ir as ir
import pytest
from hypothesis import given, settings

from qcompiler.ir.dataflow import (
    captures,
    components,
    dataflow,
    downstream,
    longest_path,
    minimum_cut,
    upstream,
)
from qcompiler.ir.liveness import liveness, value_bytes
from qcompiler.ir.program import Program, Provenance
from qcompiler.ir.signature import Signature

_DIAMOND = """
<ir_version: 10, opset_import: ["" : 21]>
diamond (float[2,4] x) => (float[2,4] y, float[2,4] z)
<float[2,4] a, float[2,4] b, float[2,4] c> {
    a = Relu (x)
    b = Neg (a)
    c = Abs (a)
    y = Add (b, c)
    z = Mul (a, a)
}
"""
_BRANCH = """
<ir_version: 10, opset_import: ["" : 21]>
branch (float[2] x, bool p) => (float[2] y) {
    a = Relu (x)
    b = Neg (x)
    c = If (p) <
        then_branch = yes () => (float[2] t) { u = Abs (a)  t = Exp (u) },
        else_branch = no () => (float[2] e) { e = Add (x, b) }
    >
    y = Sqrt (c)
}
"""


def _program(text: str) -> Program:
    return Program(ir.from_onnx_text(text), Signature((), ()), Provenance("test"))


def _by_op(program: Program) -> dict[str, ir.Node]:
    return {node.op_type: node for node in dataflow(program)}


def test_edges_carry_values() -> None:
    program = _program(_DIAMOND)
    view = dataflow(program)
    op = _by_op(program)
    edges = {(a.op_type, b.op_type) for a, b in view.edges}
    assert edges == {
        ("Relu", "Neg"),
        ("Relu", "Abs"),
        ("Relu", "Mul"),
        ("Neg", "Add"),
        ("Abs", "Add"),
    }
    assert [v.name for v in view.edges[op["Relu"], op["Mul"]]["values"]] == ["a"]
    assert [node.op_type for node in view] == ["Relu", "Neg", "Abs", "Add", "Mul"]


def test_captures_are_edges_of_the_holder_and_results_reach_it() -> None:
    program = _program(_BRANCH)
    view = dataflow(program)
    op = _by_op(program)
    assert {value.name for value in captures(op["If"])} == {"a", "x", "b"}
    assert {node.op_type for node in view.predecessors(op["If"])} == {"Relu", "Neg", "Exp", "Add"}
    assert {node.op_type for node in upstream(view, [op["Abs"]])} == {"Relu", "Abs"}
    reached = {node.op_type for node in downstream(view, [op["Neg"]])}
    assert reached == {"Neg", "Add", "If", "Sqrt"}
    assert len(view.nodes[op["If"]]["bodies"]) == 2
    assert nx.is_directed_acyclic_graph(view)


def test_reach_starts_from_several_nodes() -> None:
    program = _program(_DIAMOND)
    view = dataflow(program)
    op = _by_op(program)
    found = upstream(view, [op["Neg"], op["Mul"]])
    expected = nx.ancestors(view, op["Neg"]) | nx.ancestors(view, op["Mul"])
    assert found == expected | {op["Neg"], op["Mul"]}


def test_components_keep_graph_order() -> None:
    view = dataflow(_program(_DIAMOND))
    groups = components(view, lambda node: node.op_type != "Relu")
    assert [[node.op_type for node in group] for group in groups] == [
        ["Neg", "Abs", "Add"],
        ["Mul"],
    ]


def test_longest_path_matches_networkx() -> None:
    view = dataflow(_program(_DIAMOND))
    path, total = longest_path(view)
    assert total == len(nx.dag_longest_path(view)) == 3
    costs = {"Mul": 5.0}
    path, total = longest_path(view, lambda node: costs.get(node.op_type, 1.0))
    assert [node.op_type for node in path] == ["Relu", "Mul"]
    assert total == 6.0
    assert longest_path(nx.DiGraph()) == ([], 0.0)


_costs = st.integers(0, 9).map(float)


@st.composite
def _energies(
    draw: st.DrawFn,
) -> tuple[list[float], list[float], list[tuple[int, int, float]]]:
    count = draw(st.integers(1, 6))
    sides = st.lists(_costs, min_size=count, max_size=count)
    item = st.integers(0, count - 1)
    edges = draw(st.lists(st.tuples(item, item, _costs), max_size=8))
    return draw(sides), draw(sides), edges


@settings(max_examples=50, deadline=None)
@given(_energies())
def test_minimum_cut_is_optimal(
    energy: tuple[list[float], list[float], list[tuple[int, int, float]]],
) -> None:
    first, second, edges = energy

    def total(side: tuple[bool, ...]) -> float:
        unary = sum(first[i] if on else second[i] for i, on in enumerate(side))
        return unary + sum(weight for a, b, weight in edges if side[a] != side[b])

    best = min(total(side) for side in itertools.product((True, False), repeat=len(first)))
    links: list[tuple[Hashable, Hashable, float]] = list(edges)
    cut = minimum_cut(dict(enumerate(first)), dict(enumerate(second)), links)
    assert cut.cost == best
    assert total(tuple(i in cut.first for i in range(len(first)))) == best
    assert sorted([*cut.first, *cut.second], key=str) == list(range(len(first)))


def test_infinite_cost_forbids_a_side() -> None:
    inf = float("inf")
    cut = minimum_cut({"a": inf, "b": 0.0}, {"a": 1.0, "b": 2.0}, [("a", "b", 5.0)])
    assert (cut.first, cut.second, cut.cost) == ((), ("a", "b"), 3.0)


@pytest.mark.parametrize(
    ("first", "second", "edges", "words"),
    [
        ({"a": -1.0}, {"a": 0.0}, [], "0 or more"),
        ({"a": float("nan")}, {"a": 0.0}, [], "0 or more"),
        ({"a": 1.0}, {"b": 0.0}, [], "different items"),
        ({"a": 1.0}, {"a": 0.0}, [("a", "z", 1.0)], "no item"),
        ({"a": float("inf")}, {"a": float("inf")}, [], "neither side"),
    ],
)
def test_minimum_cut_rejects(
    first: dict[Hashable, float],
    second: dict[Hashable, float],
    edges: list[tuple[Hashable, Hashable, float]],
    words: str,
) -> None:
    with pytest.raises(ValueError, match=words):
        minimum_cut(first, second, edges)


def test_liveness_counts_bytes_by_hand() -> None:
    # Held, 32 bytes each: x a | a b | a b c | a b c y (Add) | a y z.
    found = liveness(_program(_DIAMOND))
    assert found.peak_bytes == 4 * 2 * 4 * 4
    assert found.peak_node is not None
    assert found.peak_node.op_type == "Add"
    assert found.last_use == {"x": 0, "a": 4, "b": 3, "c": 3, "y": 5, "z": 5}
    assert found.unknown == ()


def test_liveness_reports_what_it_cannot_count() -> None:
    program = _program(_DIAMOND)
    program.graph[1].outputs[0].shape = ir.Shape(["n", 4])
    found = liveness(program)
    assert found.unknown == ("b",)
    assert found.peak_bytes == 3 * 2 * 4 * 4


def test_a_captured_value_lives_until_the_holder() -> None:
    assert liveness(_program(_BRANCH)).last_use["b"] == 2


def test_bytes_of_narrow_types() -> None:
    value = ir.Value(name="v", type=ir.TensorType(ir.DataType.INT4), shape=ir.Shape([3]))
    assert value_bytes(value) == 2
    assert value_bytes(ir.Value(name="w")) is None


def test_view_of_a_long_chain_is_linear() -> None:
    """20 000 nodes; a quadratic view would take minutes."""
    value = ir.Value(name="x")
    nodes = []
    graph_input = value
    for index in range(20_000):
        node = ir.Node("", "Relu", [value], name=f"n{index}")
        value = node.outputs[0]
        value.name = f"v{index}"
        nodes.append(node)
    graph = ir.Graph([graph_input], [value], nodes=nodes, opset_imports={"": 21})
    program = Program(ir.Model(graph, ir_version=10), Signature((), ()), Provenance("test"))
    begun = time.perf_counter()
    view = dataflow(program)
    assert longest_path(view)[1] == 20_000
    assert len(downstream(view, [nodes[0]])) == 20_000
    assert liveness(program).last_use["v0"] == 1
    assert time.perf_counter() - begun < 20
