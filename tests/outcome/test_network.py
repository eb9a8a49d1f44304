"""The drawn network: regions, the nodes between them with their reasons, edges forwards."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from qcompiler.errors import ConfigurationError
from qcompiler.ir.program import Program, Provenance
from qcompiler.ir.signature import Signature
from qcompiler.outcome.network import floats_outside, network_of
from qcompiler.pipeline.registry import find_target
from qcompiler.report.network import Network, Vertex
from qcompiler.target.contract import Target


@pytest.fixture
def target() -> Target:
    return find_target("onnxruntime")()


def _network(text: str, target: Target) -> Network:
    program = Program(ir.from_onnx_text(text), Signature((), ()), Provenance("test"))
    for number, node in enumerate(program.graph):
        node.name = node.name or f"n{number}"
    return network_of(program, target.regions(program), target)


def test_regions_and_what_is_between_them(target: Target) -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    net (float[2,4] x) => (float[2,4] y, float[2,4] z)
    <float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, float[2,4] s> {
        a = MatMul (x, w)
        s = Sin (a)
        b = MatMul (s, w)
        y = Add (b, a)
        z = Sin (y)
    }
    """
    found = _network(text, target)
    labels = [each.label for each in found.vertices]
    assert labels[0] == "input"
    assert labels[-2:] == ["output", "output"]
    assert labels.count("Sin") == 2
    named = {(found.vertices[a].label, found.vertices[b].label) for a, b in found.edges}
    assert ("input", "MatMul") in named
    assert ("Sin", "output") in named
    assert [each.label for each in found.outside] == ["Sin", "Sin"]
    assert "onnxruntime has no integer kernel for Sin" in {each.note for each in found.outside}
    (told,) = floats_outside(found, target)
    assert "2 Sin" in told.message


def test_bodies_come_before_the_node_that_holds_them(target: Target) -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    net (bool c, float[4] x) => (float[4] y) {
        a = Sin (x)
        y = If (c) <
            then_branch = one () => (float[4] p) { p = Cos (a) },
            else_branch = two () => (float[4] q) { q = Tan (a) }
        >
    }
    """
    found = _network(text, target)
    labels = [each.label for each in found.vertices]
    place = labels.index
    assert place("Sin") < place("Cos") < place("If")
    assert {(place("Sin"), place("Cos")), (place("Cos"), place("If"))} <= set(found.edges)
    assert {(place("Tan"), place("If")), (place("If"), place("output"))} <= set(found.edges)


@pytest.mark.parametrize("edge", [(0, 0), (1, 0), (0, 2), (-1, 0)])
def test_edges_go_forwards(edge: tuple[int, int]) -> None:
    with pytest.raises(ConfigurationError, match="is no edge"):
        Network((Vertex("a", "input"), Vertex("b", "output")), (edge,))
