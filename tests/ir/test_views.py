"""Models over another one's nodes, against ONNX's reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text, to_text
from qcompiler.ir.views import cut, with_initializers, with_metadata
from qcompiler.ir.walk import values_by_name

_TEXT = """g (float[2,3] x, bool[1] c) => (float[2,3] y, float[2,3] z) <float[3] w, float[3] v> {
    a = Add(x, w)
    b = Mul(a, v)
    s = If(c) <then_branch = t () => (float[2,3] p) { p = Sub(b, w) },
               else_branch = e () => (float[2,3] q) {
                   q = If(c) <then_branch = tt () => (float[2,3] pp) { pp = Neg(a) },
                              else_branch = ee () => (float[2,3] qq) { qq = Identity(b) }> }>
    u = Exp(v)
    y = Mul(s, u)
    z = Neg(y)
}"""


def _f32(numbers: Any) -> npt.NDArray[Any]:
    return np.array(numbers, np.float32)


_W, _V = _f32([1, 2, 3]), _f32([2, 3, 4])
_FEED: dict[str, Any] = {"x": _f32([[1, -2, 3], [0, 5, -6]]), "c": np.array([True])}
_A = _FEED["x"] + _W
_WANTED = {"x": _FEED["x"], "a": _A, "b": _A * _V, "s": _A * _V - _W, "u": np.exp(_V)}


@pytest.fixture
def program() -> Program:
    return from_text(_TEXT, {"w": _W, "v": _V})


def _run(proto: onnx.ModelProto, feed: dict[str, Any]) -> list[Any]:
    return list(ReferenceEvaluator(proto).run(None, feed))


@pytest.mark.parametrize(
    ("names", "nodes", "weights"),
    [
        (["a"], ["Add"], ["w"]),
        (["b", "a"], ["Add", "Mul"], ["w", "v"]),
        (["s"], ["Add", "Mul", "If"], ["w", "v"]),  # `a`, `b` and `w` are read in bodies
        (["u", "x"], ["Exp"], ["v"]),
    ],
)
def test_a_cut_computes_its_values_and_nothing_else(
    program: Program, names: list[str], nodes: list[str], weights: list[str]
) -> None:
    before, values = to_text(program), values_by_name(program.model)
    proto = ir.serde.serialize_model(cut(program.model, [values[name] for name in names]))
    assert [node.op_type for node in proto.graph.node] == nodes
    assert [each.name for each in proto.graph.initializer] == weights
    for name, found in zip(names, _run(proto, _FEED), strict=True):
        np.testing.assert_allclose(found, _WANTED[name], rtol=1e-6)
    assert to_text(program) == before


def test_stand_ins_take_the_places_of_initializers_and_the_model_keeps_its_own(
    program: Program,
) -> None:
    before, w = to_text(program), program.graph.initializers["w"]
    other = ir.Value(name="w", type=w.type, shape=w.shape, const_value=ir.tensor(2 * _W))
    v = ir.Value(name="v", type=w.type, shape=w.shape)
    view = with_initializers(program.model, [other], [v])
    proto = ir.serde.serialize_model(view)
    assert [each.name for each in proto.graph.input] == ["x", "c", "v"]
    y, z = _run(proto, {**_FEED, "v": _V})
    wanted = ((_FEED["x"] + 2 * _W) * _V - 2 * _W) * np.exp(_V)
    np.testing.assert_allclose(y, wanted, rtol=1e-6)
    np.testing.assert_array_equal(z, -y)
    assert to_text(program) == before
    assert program.graph.initializers["w"] is w


def test_metadata_of_a_view_are_its_own(program: Program) -> None:
    program.model.metadata_props["mine"] = "1"
    view = with_metadata(program.model, {"other": "2"})
    view.metadata_props["more"] = "3"
    assert view.metadata_props == {"other": "2", "more": "3"}
    assert program.model.metadata_props == {"mine": "1"}
    assert view.graph is program.graph
