"""Sequences of known elements as tensors, against ONNX Runtime running the sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

import qcompiler as qc
from qcompiler.frontends import load
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.verifier import require_valid
from qcompiler.passes.canonical.rule import sweep
from qcompiler.passes.canonical.sequences import concat_from_sequence, sequence_at
from qcompiler.passes.dead_code import remove_dead
from tests.oracle import unoptimized

NODE = make_node
INTS = {"0": 0, "1": 1, "-1": -1, "2": 2, "9": 9, "parts": [1, 3, 2]}
SPLITS = {
    "by two": NODE("SplitToSequence", ["a", "2"], ["s"], axis=2),
    "by sizes": NODE("SplitToSequence", ["a", "parts"], ["s"], axis=-1),
    "by one": NODE("SplitToSequence", ["a"], ["s"], axis=1),
    "by one, no axis": NODE("SplitToSequence", ["a"], ["s"], axis=1, keepdims=0),
}
LISTS = {
    "list": [NODE("SequenceConstruct", ["a", "b"], ["s"])],
    "grown": [
        NODE("SequenceEmpty", [], ["e"]),
        NODE("SequenceInsert", ["e", "b"], ["f"]),
        NODE("SequenceInsert", ["f", "a", "0"], ["s"]),
    ],
}


def ops(nodes: list[Any], dims: tuple[int | str, ...] = (2, 4, 6)) -> list[str]:
    """Operators after the two rules; what is computed stays."""
    inputs = [make_tensor_value_info(name, TensorProto.FLOAT, dims) for name in "ab"]
    outputs = [make_tensor_value_info("y", TensorProto.FLOAT, None)]
    stored = [numpy_helper.from_array(np.array(value, np.int64), k) for k, value in INTS.items()]
    graph = make_graph(nodes, "g", inputs, outputs, stored)
    source = load(make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=9))
    rng = np.random.default_rng(3)
    feed = {name: rng.standard_normal((2, 4, 6)).astype(np.float32) for name in "ab"}
    wanted = unoptimized(source, feed)[0]
    rewriter = Rewriter(source)
    sweep(source, rewriter, (sequence_at, concat_from_sequence))
    remove_dead(source, rewriter)
    require_valid(source)
    np.testing.assert_array_equal(unoptimized(source, feed)[0], wanted)
    return [node.op_type for node in source.graph]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("at", ["0", "1", "-1"])
def test_an_element_of_a_list(name: str, at: str) -> None:
    nodes = [*LISTS[name], NODE("SequenceAt", ["s", at], ["t"]), NODE("Neg", ["t"], ["y"])]
    assert ops(nodes) == ["Neg"]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("stacked", [0, 1])
def test_a_list_that_is_joined(name: str, stacked: int) -> None:
    join = NODE("ConcatFromSequence", ["s"], ["y"], axis=1, new_axis=stacked)
    assert ops([*LISTS[name], join]) == ["Unsqueeze", "Unsqueeze"] * stacked + ["Concat"]


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("at", ["1", "-1"])
def test_a_part_of_what_is_split(name: str, at: str) -> None:
    found = ops([SPLITS[name], NODE("SequenceAt", ["s", at], ["y"])])
    assert found == ["Slice", "Squeeze"][: 1 + name.endswith("axis")]


@pytest.mark.parametrize("name", SPLITS)
def test_split_and_joined_again(name: str) -> None:
    axis = SPLITS[name].attribute[0].i
    stacked = int(name.endswith("axis"))
    join = NODE("ConcatFromSequence", ["s"], ["t"], axis=axis, new_axis=stacked)
    assert ops([SPLITS[name], join, NODE("Neg", ["t"], ["y"])]) == ["Neg"]


def test_a_list_may_grow_long() -> None:
    inserts = [NODE("SequenceInsert", [f"s{i}", "ab"[i % 2]], [f"s{i + 1}"]) for i in range(1200)]
    joined = NODE("ConcatFromSequence", ["s1200"], ["y"], axis=0)
    assert ops([NODE("SequenceEmpty", [], ["s0"]), *inserts, joined]) == ["Concat"]


def test_what_depends_on_a_size_stays() -> None:
    nodes = [SPLITS["by two"], NODE("SequenceAt", ["s", "-1"], ["y"])]
    assert ops(nodes, (2, 4, "n")) == ["SplitToSequence", "SequenceAt"]
    other = NODE("ConcatFromSequence", ["s"], ["y"], axis=0)
    assert ops([SPLITS["by two"], other]) == ["SplitToSequence", "ConcatFromSequence"]


def test_openvino_knows_no_sequences_and_needs_none() -> None:
    pytest.importorskip("openvino")
    nodes = [SPLITS["by sizes"], NODE("SequenceAt", ["s", "1"], ["t"]), NODE("Relu", ["t"], ["y"])]
    inputs = [make_tensor_value_info("a", TensorProto.FLOAT, (2, 4, 6))]
    outputs = [make_tensor_value_info("y", TensorProto.FLOAT, None)]
    stored = [numpy_helper.from_array(np.array(value, np.int64), k) for k, value in INTS.items()]
    graph = make_graph(nodes, "g", inputs, outputs, stored)
    model = make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=9)
    feed = {"a": np.random.default_rng(3).standard_normal((2, 4, 6)).astype(np.float32)}
    found = qc.compile(model, "openvino", [feed], scheme="float32").run(feed)[0]
    np.testing.assert_allclose(found, np.maximum(feed["a"][..., 1:4], 0), atol=1e-6)
