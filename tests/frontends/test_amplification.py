"""Constants that grow: refused by name before an engine takes all memory for them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import qcompiler as qc
from qcompiler.errors import UnreadableModelError


def _chain(length: int, copies: int, first: onnx.NodeProto) -> onnx.ModelProto:
    """c0, then each value `copies` times the last one, whose sum is added to x."""
    nodes = [first]
    nodes += [
        helper.make_node("Concat", [f"c{i}"] * copies, [f"c{i + 1}"], axis=0) for i in range(length)
    ]
    nodes.append(helper.make_node("Size", [f"c{length}"], ["size"]))
    nodes.append(helper.make_node("Cast", ["size"], ["s"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Add", ["x", "s"], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    graph = helper.make_graph(nodes, "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _constant(array: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c0"], value=numpy_helper.from_array(array, "c0"))


FIRST = {
    "numbers": _constant(np.zeros(64, np.float32)),
    "integers": _constant(np.zeros(1, np.int64)),
    "texts": _constant(np.array(["a"], object)),
    "sizes": helper.make_node("Shape", ["x"], ["c0"]),
}


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize(("length", "copies"), [(29, 2), (60, 2), (200, 2), (12, 8)])
def test_a_chain_that_doubles_is_refused(first: str, length: int, copies: int) -> None:
    with pytest.raises(UnreadableModelError, match="numbers") as caught:
        qc.load(_chain(length, copies, FIRST[first]))
    assert "Concat" in str(caught.value.where)


@pytest.mark.parametrize("first", FIRST)
def test_a_short_chain_is_taken(first: str) -> None:
    assert len(qc.load(_chain(3, 2, FIRST[first])).graph) > 0


def test_a_size_that_a_constant_names_is_refused() -> None:
    sizes = numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "sizes")
    nodes = [
        helper.make_node("ConstantOfShape", ["sizes"], ["k"]),
        helper.make_node("ReduceSum", ["k"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph(nodes, "g", [x], [y], [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(UnreadableModelError, match=r"1\.1e\+12 numbers"):
        qc.load(model)
