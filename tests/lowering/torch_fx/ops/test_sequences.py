"""Sequences and control flow inside a graph, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest

from qcompiler.frontends.onnx_file import program_from_proto

_HEADER = '<ir_version: 8, opset_import: ["" : 18]>'
_RNG = np.random.default_rng(5)
X, Y = (_RNG.normal(size=(2, 3)).astype(np.float32) for _ in range(2))

GRAPHS = {
    "construct, insert, erase": """
        g (float[2,3] x, float[2,3] y) => (float[N,M] z, float[N,M] last, int64 n)
        <int64 zero = {0}, int64 one = {1}, int64 end = {-1}> {
          s = SequenceConstruct(x, y)
          t = SequenceInsert(s, y, zero)
          u = SequenceErase(t, one)
          v = SequenceErase(s)
          n = SequenceLength(v)
          z = ConcatFromSequence<axis = 1>(u)
          last = SequenceAt(t, end)
        }""",
    "split and stack": """
        g (float[2,3] x, float[2,3] y) => (float[A,B,C] z, float[D,E] w)
        <int64[2] sizes = {1, 2}, int64 two = {2}> {
          s = SplitToSequence<axis = 1, keepdims = 0>(x)
          z = ConcatFromSequence<axis = 0, new_axis = 1>(s)
          a = SplitToSequence<axis = 1>(y, sizes)
          b = SplitToSequence<axis = 1>(y, two)
          i = Constant<value_int = 1>()
          p = SequenceAt(a, i)
          q = SequenceAt(b, i)
          w = Concat<axis = 1>(p, q)
        }""",
    "a loop that never runs": """
        g (float[2,3] x, float[2,3] y) => (float[2,3] z, float[N,2,3] rows)
        <int64 trips = {0}, bool on = {1}> {
          z, rows = Loop (trips, on, x) <body = b (int64 i, bool c, float[2,3] s)
            => (bool d, float[2,3] t, float[2,3] r) { d = Identity(c) t = Add(s, y) r = Neg(t) }>
        }""",
    "a scan backwards along another axis": """
        g (float[2,3] x, float[2,3] y) => (float[2] z, float[2,3] rows)
        <int64[1] axis = {1}> { start = ReduceSum<keepdims = 0>(y, axis)
          z, rows = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
            scan_output_axes = [1], scan_output_directions = [1],
            body = b (float[2] s, float[2] e) => (float[2] t, float[2] r)
            { t = Add(s, e) r = Mul(t, e) }> (start, x) }""",
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_of_sequences_agrees_with_onnxruntime(name: str, run_float: Any) -> None:
    model = onnx.parser.parse_model(_HEADER + GRAPHS[name])
    feed = {"x": X, "y": Y}
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected: list[Any] = list(session.run(None, feed))
    program = program_from_proto(model)
    found = run_float(program, feed)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_an_optional_is_there_or_is_not(run_float: Any) -> None:
    model = onnx.parser.parse_model(
        _HEADER
        + """g (float[2,3] x) => (bool a, float[2,3] y)
        { o = Optional(x) a = OptionalHasElement(o) y = OptionalGetElement(o) }"""
    )
    program = program_from_proto(model)
    found = run_float(program, {"x": X})
    assert bool(found[0])
    assert np.array_equal(found[1], X)


def test_cast_like_an_element_of_a_sequence(run_float: Any) -> None:
    """No type is known when the graph is built: shape inference does not look into sequences."""
    model = onnx.parser.parse_model(
        _HEADER
        + """g (float[2,3] x) => (float[2,3] y) <int64[2,3] n = {1,2,3,4,5,6}, int64 zero = {0}>
        { s = SequenceConstruct(x) e = SequenceAt(s, zero) y = CastLike(n, e) }"""
    )
    program = program_from_proto(model)
    for node in program.graph:
        node.outputs[0].type = None
    (found,) = run_float(program, {"x": X})
    assert found.dtype == np.float32
    assert found.ravel().tolist() == [1, 2, 3, 4, 5, 6]


def test_an_optional_that_may_hold_nothing(run_float: Any) -> None:
    """Its element type is an attribute, which no torch graph can hold as a number."""
    tensor = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [2, 3])
    optional = onnx.helper.make_optional_type_proto(tensor)
    there, none = (
        onnx.helper.make_graph(
            [onnx.helper.make_node("Optional", inputs, [name], **given)],
            name, [], [onnx.helper.make_value_info(name, optional)],
        )
        for name, inputs, given in (("a", ["x"], {}), ("b", [], {"type": tensor}))
    )  # fmt: skip
    nodes = [
        onnx.helper.make_node("If", ["k"], ["o"], then_branch=there, else_branch=none),
        onnx.helper.make_node("OptionalHasElement", ["o"], ["h"]),
    ]
    value = onnx.helper.make_tensor_value_info
    inputs = [value("x", onnx.TensorProto.FLOAT, [2, 3]), value("k", onnx.TensorProto.BOOL, [])]
    outputs = [value("h", onnx.TensorProto.BOOL, [])]
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs)
    opsets = [onnx.helper.make_opsetid("", 18)]
    program = program_from_proto(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8))
    for held in (True, False):
        assert bool(run_float(program, {"x": X, "k": np.array(held)})[0]) is held
