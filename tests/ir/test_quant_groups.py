"""Union-find against networkx components; groups are in graph order."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis.strategies as st
import networkx as nx
import onnx_ir as ir
import pytest
from hypothesis import given, settings

from qcompiler.ir.program import Program, Provenance
from qcompiler.ir.quant_groups import Edge, UnionFind, quant_groups, shared_operands
from qcompiler.ir.signature import Signature

_pairs = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=20)


@settings(max_examples=50, deadline=None)
@given(_pairs)
def test_groups_are_the_connected_components_in_any_order(
    pairs: list[tuple[int, int]],
) -> None:
    graph = nx.Graph()
    graph.add_nodes_from(range(13))
    graph.add_edges_from(pairs)
    expected = sorted(tuple(sorted(group)) for group in nx.connected_components(graph))
    for order in (pairs, pairs[::-1], sorted(pairs)):
        sets = UnionFind(range(13))
        for one, other in order:
            sets.union(one, other)
        assert sets.groups() == expected
        assert all(sets.connected(a, b) for a, b in pairs)


def test_equal_items_are_one_item() -> None:
    sets: UnionFind[tuple[int, ...]] = UnionFind()
    sets.union((1, 2), (3,))
    assert sets.connected(tuple(range(1, 3)), tuple(range(3, 4)))
    with pytest.raises(KeyError):
        sets.find((9,))


def test_long_chains_do_not_recurse() -> None:
    sets = UnionFind(range(200_000))
    for index in range(199_999, 0, -1):
        sets.union(index, index - 1)
    assert len(sets.groups()) == 1


_MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
model (float[2] x, float[2] w) => (float[6] y, float[2] z)
<float[2] k = {1, 2}> {
    a = Relu (x)
    b = Neg (w)
    c = Reshape (b, shape)
    y = Concat <axis = 0> (a, c, k)
    z = Exp (x)
}
"""


def _ties(node: ir.Node) -> Iterator[Edge]:
    if node.op_type in ("Concat", "Reshape"):
        yield from shared_operands(
            node, range(1 if node.op_type == "Reshape" else len(node.inputs))
        )


def test_groups_of_a_program() -> None:
    text = _MODEL.replace("<float[2] k = {1, 2}>", "<float[2] k = {1, 2}, int64[1] shape = {2}>")
    program = Program(ir.from_onnx_text(text), Signature((), ()), Provenance("test"))
    names = [[value.name for value in group] for group in quant_groups(program, _ties)]
    assert names == [["a", "b", "c", "y"]]
    values = {value.name: value for node in program.graph for value in node.outputs}
    extra = [(values["z"], program.graph.inputs[0])]
    groups = [[value.name for value in group] for group in quant_groups(program, _ties, extra)]
    assert groups == [["x", "z"], ["a", "b", "c", "y"]]
