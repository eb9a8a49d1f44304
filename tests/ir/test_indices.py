"""Numbers that are sizes or indices: found at every such operand, and through bodies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from qcompiler.compile import compile as compile_
from qcompiler.ir.indices import SIZE_OPERANDS, size_values
from qcompiler.ir.nodecheck import legal_types
from qcompiler.ir.program import WORKING_OPSET, Program, Provenance
from qcompiler.ir.signature import signature_of

FLOAT = onnx.TensorProto.FLOAT
VALUES = {("QLinearConv", 8)}
"""An integer operand that is data all the same."""


def program_of(nodes: list[onnx.NodeProto], inputs: str, outputs: str) -> Program:
    """An unchecked program: the analysis reads no types."""
    graph = make_graph(
        nodes,
        "g",
        [make_tensor_value_info(name, FLOAT, None) for name in inputs.split()],
        [make_tensor_value_info(name, FLOAT, None) for name in outputs.split()],
    )
    model = ir.from_proto(make_model(graph, opset_imports=[make_opsetid("", WORKING_OPSET)]))
    return Program(model, signature_of(model), Provenance("a test"))


def sizes(program: Program) -> set[str | None]:
    return {value.name for value in size_values(program)}


def computed(name: str) -> list[onnx.NodeProto]:
    """Float arithmetic `name` = int64(floor(p · q))."""
    return [
        make_node("Mul", ["p", "q"], ["m"]),
        make_node("Floor", ["m"], ["f"]),
        make_node("Cast", ["f"], [name], to=7),
    ]


def operands() -> Iterator[tuple[str, int]]:
    for op, positions in SIZE_OPERANDS.items():
        if op not in ("If", "Loop", "Shape", "Size"):
            yield from ((op, position) for position in positions if position < 5)


@pytest.mark.parametrize(("op", "position"), list(operands()))
def test_arithmetic_that_ends_in_a_size_operand_is_no_data(op: str, position: int) -> None:
    reader = make_node(op, ["x"] * position + ["i"], ["y"])
    assert {"m", "f", "i"} <= sizes(program_of([*computed("i"), reader], "p q x", "y"))
    shared = program_of([*computed("i"), reader], "p q x", "y m")
    assert "m" not in sizes(shared)
    assert "i" in sizes(shared)


def test_every_integer_operand_of_onnx_is_in_the_table() -> None:
    missing = {
        (schema.name, index)
        for schema in map(_schema, sorted({s.name for s in onnx.defs.get_all_schemas()}))
        if schema is not None
        for index, formal in enumerate(schema.inputs)
        if legal_types(schema, formal) <= {"tensor(int64)", "tensor(int32)"}
        and index not in SIZE_OPERANDS.get(schema.name, ())
    }
    assert missing <= VALUES


def _schema(name: str) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(name, WORKING_OPSET, "")
    except onnx.defs.SchemaError:
        return None


def test_what_a_network_decides_by_is_data() -> None:
    decided = [
        make_node("MatMul", ["p", "q"], ["m"]),
        make_node("ArgMax", ["m"], ["i"]),
        make_node("Gather", ["x", "i"], ["y"]),
    ]
    assert "m" not in sizes(program_of(decided, "p q x", "y"))


def body(nodes: list[onnx.NodeProto], inputs: str, outputs: str) -> onnx.GraphProto:
    return make_graph(
        nodes,
        "body",
        [make_tensor_value_info(name, FLOAT, None) for name in inputs.split()],
        [make_tensor_value_info(name, FLOAT, None) for name in outputs.split()],
    )


def test_a_size_is_followed_out_of_a_branch() -> None:
    then = body([make_node("Add", ["p", "q"], ["t"])], "", "t")
    other = body([make_node("Sub", ["p", "q"], ["e"])], "", "e")
    nodes = [
        make_node("If", ["c"], ["k"], then_branch=then, else_branch=other),
        make_node("Cast", ["k"], ["i"], to=7),
        make_node("Expand", ["x", "i"], ["y"]),
    ]
    assert {"t", "e", "k", "i"} <= sizes(program_of(nodes, "c p q x", "y"))
    assert not {"t", "e", "k"} & sizes(program_of(nodes, "c p q x", "y k"))


def test_a_size_is_followed_through_the_state_of_a_loop() -> None:
    step = body(
        [
            make_node("Add", ["s", "q"], ["next"]),
            make_node("Cast", ["next"], ["i"], to=7),
            make_node("Slice", ["x", "i", "i"], ["part"]),
            make_node("Identity", ["cond"], ["again"]),
        ],
        "iteration cond s",
        "again next part",
    )
    nodes = [
        make_node("Mul", ["p", "q"], ["start"]),
        make_node("Loop", ["n", "", "start"], ["last", "y"], body=step),
    ]
    assert {"start", "next", "i"} <= sizes(program_of(nodes, "n p q x", "y"))
    assert not {"start", "next"} & sizes(program_of(nodes, "n p q x", "y last"))


@pytest.mark.parametrize(
    ("target", "form"), [("onnxruntime", "int8-float-out"), ("fbgemm", "int8")]
)
def test_a_computed_size_stays_exact_under_int8(target: str, form: str) -> None:
    if target == "fbgemm":
        pytest.importorskip("torch")
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (float[4, 8] x, float[1] p, float[1] q) => (float[a, b] y)
        <float[8, 8] w, int64[1] zero = {0}> {
            h = MatMul (x, w)  f = Mul (p, q)  i = Cast <to = 7> (f)
            s = Slice (h, zero, i)  y = Relu (s) }"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(8, dtype=np.float32), "w"))
    feeds = [
        {
            "x": np.random.default_rng(k).standard_normal((4, 8)).astype(np.float32),
            "p": np.array([0.5 * k], np.float32),
            "q": np.array([2.0], np.float32),
        }
        for k in range(5)
    ]
    compiled = compile_(model, target, feeds, scheme="int8", recipe="fast")
    assert [compiled.run(feed)[0].shape[0] for feed in feeds] == [0, 1, 2, 3, 4]
    assert compiled.report.counts().get(form)
