"""One-hot products and arithmetic behind tables against ONNX Runtime on the graph as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.rewriter import Rewriter
from qcompiler.passes.canonical import lookups
from qcompiler.passes.canonical.folding import fold_constants
from qcompiler.passes.canonical.lookups import one_hot_product, table_arithmetic
from qcompiler.passes.canonical.rule import sweep

Array = npt.NDArray[Any]
_ROWS = 5


def _model(
    nodes: list[onnx.NodeProto], kind: int, outputs: int = 1, /, **arrays: Array
) -> onnx.ModelProto:
    """i [batch, 4] of `kind` in, y float out; a matrix w [5, 3] besides what is given."""
    matrix = np.random.default_rng(0).normal(size=(_ROWS, 3)).astype(np.float32)
    stored = [numpy_helper.from_array(a, n) for n, a in {"w": matrix, **arrays}.items()]
    names = ["y", "z"][:outputs]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("i", kind, ["batch", 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _same(model: onnx.ModelProto, kind: type, low: int = -7, high: int = 8) -> list[str]:
    """The ops afterwards, the numbers being those of the model as it was."""
    program = load(model)
    rewriter = Rewriter(program)
    sweep(program, rewriter, [one_hot_product, table_arithmetic, fold_constants])
    rewriter.drop_unused_constants()
    plain = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed: dict[str, Array] = {
        "i": np.random.default_rng(1).integers(low, high, (6, 4)).astype(kind)
    }
    found = OrtSession(program.model).run(feed)
    for got, wanted in zip(found, plain.run(None, feed), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=1e-7)
    return [node.op_type for node in program.graph]


def _by_equal(numbers: Array, flip: bool = False) -> tuple[list[onnx.NodeProto], Array]:
    pair = ["numbers", "u"] if flip else ["u", "numbers"]
    nodes = [
        helper.make_node("Unsqueeze", ["i", "last"], ["u"]),
        helper.make_node("Equal", pair, ["e"]),
        helper.make_node("Cast", ["e"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["c", "w"], ["y"]),
    ]
    return nodes, numbers


_LAST = np.array([-1], np.int64)


@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.INT64])
@pytest.mark.parametrize("dims", [(5,), (1, 5), (1, 1, 5)])
@pytest.mark.parametrize("flip", [False, True])
def test_equal_and_product(kind: int, dims: tuple[int, ...], flip: bool) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes, numbers = _by_equal(np.arange(_ROWS, dtype=dtype).reshape(dims), flip)
    ops = _same(_model(nodes, kind, numbers=numbers, last=_LAST), dtype.type)
    assert "MatMul" not in ops
    assert ops[-1] == "Gather"


@pytest.mark.parametrize("axis", [-1, 2])
def test_one_hot_wraps_negative_indices(axis: int) -> None:
    nodes = [
        helper.make_node("OneHot", ["i", "depth", "ends"], ["o"], axis=axis),
        helper.make_node("MatMul", ["o", "w"], ["y"]),
    ]
    given = {"depth": np.array(_ROWS), "ends": np.array([0, 1], np.float32)}
    assert _same(_model(nodes, TensorProto.INT64, 1, **given), np.int64)[-1] == "Gather"


@pytest.mark.parametrize(
    "numbers", [[0, 1, 2, 4, 3], [1, 2, 3, 4, 5], [0, 1, 2, 3, 3]], ids=["order", "from 1", "twice"]
)
def test_other_numbers_than_counted_ones_are_left(numbers: list[int]) -> None:
    nodes, array = _by_equal(np.array(numbers, np.int64))
    ops = _same(_model(nodes, TensorProto.INT64, numbers=array, last=_LAST), np.int64)
    assert "MatMul" in ops


@pytest.mark.parametrize(("ends", "axis"), [([0, 2], -1), ([1, 0], -1), ([0, 1], 1)])
def test_other_one_hots_are_left(ends: list[float], axis: int) -> None:
    nodes = [
        helper.make_node("OneHot", ["i", "depth", "ends"], ["o"], axis=axis),
        helper.make_node("MatMul", ["o", "m"], ["y"]),
    ]
    width = _ROWS if axis == -1 else 4
    given = {
        "depth": np.array(_ROWS),
        "ends": np.array(ends, np.float32),
        "m": np.ones((width, 2), np.float32),
    }
    assert "MatMul" in _same(_model(nodes, TensorProto.INT64, 1, **given), np.int64)


def test_infinite_weights_are_left() -> None:
    """0 times infinity is NaN in every row of the product."""
    weights = np.ones((_ROWS, 3), np.float32)
    weights[2, 1] = np.inf
    nodes, numbers = _by_equal(np.arange(_ROWS))
    made = _model(nodes, TensorProto.INT64, numbers=numbers, last=_LAST, w=weights)
    assert "MatMul" in _same(made, np.int64)


@pytest.mark.parametrize(
    ("wraps", "shared", "left"), [(0, 0, False), (0, 1, True), (1, 0, True), (1, 1, True)]
)
def test_a_large_table_is_stored_once(
    wraps: int, shared: int, left: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy for indices that wrap, or beside another reader, would make the file larger."""
    monkeypatch.setattr(lookups, "_MOST_ELEMENTS", 14)
    nodes, numbers = _by_equal(np.arange(_ROWS))
    given = {"numbers": numbers, "last": _LAST}
    if wraps:
        nodes = [
            helper.make_node("OneHot", ["i", "depth", "ends"], ["o"]),
            helper.make_node("MatMul", ["o", "w"], ["y"]),
        ]
        given = {"depth": np.array(_ROWS), "ends": np.array([0, 1], np.float32)}
    if shared:
        nodes.append(helper.make_node("Abs", ["w"], ["z"]))
    ops = _same(_model(nodes, TensorProto.INT64, 1 + shared, **given), np.int64)
    assert ("MatMul" in ops) == left


def _looked_up(*nodes: onnx.NodeProto) -> list[onnx.NodeProto]:
    return [helper.make_node("Gather", ["w", "i"], ["g"]), *nodes]


def test_a_chain_behind_a_table() -> None:
    nodes = _looked_up(
        helper.make_node("Add", ["b", "g"], ["s"]),
        helper.make_node("Gelu", ["s"], ["h"]),
        helper.make_node("Div", ["two", "h"], ["y"]),
    )
    arrays = {"b": np.array([[[1.0, 2.0, 3.0]]], np.float32), "two": np.array(2, np.float32)}
    assert _same(_model(nodes, TensorProto.INT64, 1, **arrays), np.int64, 0, _ROWS) == ["Gather"]


@pytest.mark.parametrize("dims", [(1, 4, 1), (4, 3), (6, 1, 1), (1, 1, 1, 3)])
def test_operands_that_differ_by_row_are_left(dims: tuple[int, ...]) -> None:
    nodes = _looked_up(helper.make_node("Mul", ["g", "b"], ["y"]))
    array = np.random.default_rng(2).normal(size=dims).astype(np.float32)
    ops = _same(_model(nodes, TensorProto.INT64, b=array), np.int64, 0, _ROWS)
    assert ops == ["Gather", "Mul"]


def test_a_table_with_other_readers_is_left() -> None:
    nodes = _looked_up(
        helper.make_node("Tanh", ["g"], ["y"]), helper.make_node("MatMul", ["g", "t"], ["z"])
    )
    turned = np.ones((3, 2), np.float32)
    ops = _same(_model(nodes, TensorProto.INT64, 2, t=turned), np.int64, 0, _ROWS)
    assert "Tanh" in ops
