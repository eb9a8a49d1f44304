"""What OpenVINO computes otherwise than ONNX in float: the fault is there, and mended or refused.

ONNX Runtime is the oracle. A fault that OpenVINO has mended makes the first assertion of its test
fail: then its row may go.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qcompiler.errors import FeedError, LoweringError
from qcompiler.execution.openvino.float_faults import FAULTS, mended
from qcompiler.execution.openvino.session import OpenVinoSession, available, ports_of
from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.program import Program

pytestmark = pytest.mark.skipif(not available(), reason="openvino is not installed")

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(2, 3, 11, 12)).astype(np.float32)
MASKED = IMAGE.copy()
MASKED[0, 1], MASKED[1, 2, :4] = -np.inf, -np.inf
SQUARE = RNG.normal(size=(8, 8)).astype(np.float32)
BOXES = np.array([[[0, 0, 1, 1], [0, 2, 1, 3], [0, 4, 1, 5]]], np.float32)
Arrays = dict[str, Any]


def _model(
    nodes: list[onnx.NodeProto], feed: Arrays, held: Arrays, outputs: tuple[str, ...] = ("y",)
) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(each.dtype), ["n", *each.shape[1:]]
        )
        for name, each in feed.items()
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(each), name) for name, each in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def _one(op: str, feed: Arrays, held: Arrays, **attributes: Any) -> Program:
    node = helper.make_node(op, [*feed, *held], ["y"], name="n", **attributes)
    return load(_model([node], feed, held))


def _same(program: Program, feed: Arrays) -> bool:
    found = OpenVinoSession(program.model, program.signature, threads=1).run(feed)
    wanted = OrtSession(program.model, optimize=False).run(feed)
    return all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-4, equal_nan=True)
        for a, b in zip(found, wanted, strict=True)
    )


KERNEL = RNG.normal(size=(3, 2, 3, 3)).astype(np.float32)
MENDED: dict[str, tuple[str, Arrays, Arrays, dict[str, Any]]] = {
    "output_shape": ("ConvTranspose", {"x": IMAGE}, {"w": KERNEL},
                     {"strides": [2, 2], "output_shape": [22, 24]}),
    "same upper": ("ConvTranspose", {"x": IMAGE}, {"w": KERNEL},
                   {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "same lower": ("ConvTranspose", {"x": IMAGE}, {"w": KERNEL},
                   {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    "average": ("AveragePool", {"x": IMAGE}, {},
                {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1,
                 "count_include_pad": 1}),
    "average, window dropped": ("AveragePool", {"x": IMAGE}, {},
                                {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 1, 1, 1],
                                 "dilations": [2, 2], "ceil_mode": 1, "count_include_pad": 1}),
    "maximum, window dropped": ("MaxPool", {"x": IMAGE}, {},
                                {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1}),
    "kept ratio": ("Resize", {"x": IMAGE},
                   {"roi": np.zeros(0, np.float32), "s": np.zeros(0, np.float32),
                    "z": np.array([22, 30])},
                   {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}),
    "no axes": ("ReduceLogSum", {"x": np.abs(IMAGE)}, {}, {"noop_with_empty_axes": 1}),
    "minus infinity": ("ReduceMax", {"x": MASKED}, {"a": np.array([2, 3])}, {}),
    "minus infinity, all": ("ReduceMax", {"x": np.full((2, 3), -np.inf, np.float32)}, {},
                            {"keepdims": 0}),
    "infinity": ("ReduceMin", {"x": -MASKED}, {"a": np.array([-1])}, {"keepdims": 0}),
    "threshold": ("NonMaxSuppression", {"b": BOXES},
                  {"s": np.array([[[0.9, 0.8, 0.7]]], np.float32), "m": np.array([3]),
                   "t": np.zeros(1, np.float32)}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", MENDED)
def test_a_rewrite_makes_it_right(name: str) -> None:
    op, feed, held, attributes = MENDED[name]
    program = _one(op, feed, held, **attributes)
    assert not _same(program, feed)
    other = mended(program)
    assert _same(other, feed)
    wanted = OrtSession(program.model, optimize=False).run(feed)
    for found, each in zip(OrtSession(other.model).run(feed), wanted, strict=True):
        np.testing.assert_allclose(found, each, rtol=1e-5, atol=1e-5)


def test_a_square_weight_in_two_layouts() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], transB=1),
        helper.make_node("Gemm", ["h", "w"], ["y"]),
    ]
    feed = {"x": RNG.normal(size=(4, 64)).astype(np.float32)}
    program = load(_model(nodes, feed, {"w": RNG.normal(size=(64, 64)).astype(np.float32)}))
    assert not _same(program, feed)
    assert _same(mended(program), feed)


@pytest.mark.parametrize("op", ["Add", "Sub"])
@pytest.mark.parametrize("product", ["MatMul", "Gemm"])
@pytest.mark.parametrize("axes", [3, 4])
def test_a_constant_that_gives_a_product_axes(op: str, product: str, axes: int) -> None:
    nodes = [helper.make_node(product, ["x", "w"], ["p"]), helper.make_node(op, ["b", "p"], ["y"])]
    feed = {"x": RNG.normal(size=(4, 8)).astype(np.float32)}
    row = RNG.normal(size=(*[1] * (axes - 1), 8)).astype(np.float32)
    program = load(_model(nodes, feed, {"w": SQUARE, "b": row}))
    assert not _same(program, feed)
    assert _same(mended(program), feed)


POINTWISE = RNG.normal(size=(5, 2, 1, 1)).astype(np.float32)
_THIN: Arrays = {"strides": [2, 2]}
STRIDED: dict[str, tuple[list[onnx.NodeProto], Arrays]] = {
    "second output": ([helper.make_node("Relu", ["b"], ["m"])], _THIN),
    "both outputs": ([helper.make_node("Sub", ["a", "b"], ["m"])], {"strides": [1, 2]}),
    "through a convolution": ([helper.make_node("Mul", ["a", "b"], ["h"]),
                               helper.make_node("Conv", ["h", "v"], ["m"])], _THIN),
    "same": ([helper.make_node("Max", ["a", "b"], ["m"])], {**_THIN, "auto_pad": "SAME_UPPER"}),
    "padding": ([helper.make_node("Transpose", ["a"], ["t"]),
                 helper.make_node("Transpose", ["t"], ["u"]),
                 helper.make_node("Relu", ["u"], ["m"])], {**_THIN, "pads": [1, 0, 1, 2]}),
}  # fmt: skip


@pytest.mark.parametrize("name", STRIDED)
def test_strides_of_one_element_kernels_end_at_the_right_output(name: str) -> None:
    between, attributes = STRIDED[name]
    nodes = [helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2), *between,
             helper.make_node("Conv", ["m", "w"], ["y"], name="n", **attributes)]  # fmt: skip
    feed = {"x": RNG.normal(size=(2, 4, 7, 8)).astype(np.float32)}
    program = load(_model(nodes, feed, {"w": POINTWISE, "v": POINTWISE[:2]}))
    assert not _same(program, feed)
    assert _same(mended(program), feed)


def test_strides_that_openvino_moves_rightly_stay() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["m"]),
             helper.make_node("Conv", ["m", "w"], ["y"], strides=[2, 2])]  # fmt: skip
    feed = {"x": RNG.normal(size=(2, 2, 7, 8)).astype(np.float32)}
    program = load(_model(nodes, feed, {"w": POINTWISE}))
    assert mended(program) is program
    assert _same(program, feed)


def _branch(weight: str, name: str) -> onnx.GraphProto:
    value = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 14])
    return helper.make_graph([helper.make_node("MatMul", ["x", weight], [name])], name, [], [value])


def test_what_reads_an_if_in_the_first_run_of_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("ReduceProd", ["s"], ["p"], keepdims=0),
        helper.make_node("Greater", ["p", "z"], ["c"]),
        helper.make_node("If", ["c"], ["i"], then_branch=_branch("a", "then"),
                         else_branch=_branch("b", "else")),
        helper.make_node("Gemm", ["i", "d"], ["g"]),
        helper.make_node("MatMul", ["g", "e"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "f"], ["t"]),
        helper.make_node("Add", ["t", "g"], ["y"]),
    ]  # fmt: skip
    sizes = {"a": (14, 14), "b": (14, 14), "d": (14, 8), "e": (8, 16), "f": (16, 8)}
    held: Arrays = {k: RNG.normal(size=each).astype(np.float32) for k, each in sizes.items()}
    feeds = [{"x": RNG.normal(size=(n, 14)).astype(np.float32)} for n in (3, 5, 9)]
    program = load(_model(nodes, feeds[0], {**held, "z": np.array(0)}))
    session = OpenVinoSession(program.model, program.signature, threads=1)
    for feed in feeds:
        wanted = OrtSession(program.model, optimize=False).run(feed)
        np.testing.assert_allclose(session.run(feed)[0], wanted[0], rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(OpenVinoSession, "_runs", lambda *_: 1)
    assert not all(_same(program, feed) for feed in feeds)


REFUSED: dict[str, tuple[str, Arrays, Arrays, dict[str, Any]]] = {
    "antialias": ("Resize", {"x": IMAGE},
                  {"roi": np.zeros(0, np.float32), "s": np.array([1, 1, 0.5, 0.5], np.float32)},
                  {"mode": "linear", "antialias": 1}),
    "exclude outside": ("Resize", {"x": IMAGE},
                        {"roi": np.zeros(0, np.float32),
                         "s": np.array([1, 1, 2, 2], np.float32)},
                        {"mode": "cubic", "exclude_outside": 1}),
    "region maximum": ("RoiAlign", {"x": IMAGE},
                       {"r": np.array([[0, 0, 6, 6]], np.float32), "i": np.array([0])},
                       {"mode": "max", "output_height": 2, "output_width": 2}),
    "forgetting": ("LSTM", {"x": RNG.normal(size=(4, 2, 3)).astype(np.float32)},
                   {"w": RNG.normal(size=(1, 20, 3)).astype(np.float32),
                    "r": RNG.normal(size=(1, 20, 5)).astype(np.float32)},
                   {"hidden_size": 5, "input_forget": 1}),
    "bytes": ("Mul", {"x": np.array([200, 100], np.uint8)}, {"k": np.array([2, 3], np.uint8)}, {}),
    "64 bits": ("Add", {"x": np.array([1, 2])}, {"k": np.array([2**40, -(2**62)])}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_otherwise_is_refused(name: str) -> None:
    op, feed, held, attributes = REFUSED[name]
    program = _one(op, feed, held, **attributes)
    assert not _same(program, feed)
    with pytest.raises(LoweringError, match="does not compute") as caught:
        mended(program)
    assert "n" in str(caught.value.where)


def _loop(trips: int | None) -> Program:
    body = helper.make_graph(
        [helper.make_node("Neg", ["s"], ["s1"]), helper.make_node("Identity", ["c"], ["d"]),
         helper.make_node("Identity", ["s1"], ["z"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("c", TensorProto.BOOL, []),
         helper.make_tensor_value_info("s", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, []),
         helper.make_tensor_value_info("s1", TensorProto.FLOAT, [2, 3]),
         helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 3])],
    )  # fmt: skip
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])]
    held = [numpy_helper.from_array(np.array(True), "go")]
    if trips is None:
        inputs.append(helper.make_tensor_value_info("t", TensorProto.INT64, []))
    else:
        held.append(numpy_helper.from_array(np.array(trips), "t"))
    graph = helper.make_graph(
        [helper.make_node("Loop", ["t", "go", "x"], ["y", "all"], body=body)],
        "g",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3]),
         helper.make_tensor_value_info("all", TensorProto.FLOAT, None)],
        held,
    )  # fmt: skip
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.parametrize("trips", [0, None])
def test_a_loop_that_may_run_no_time_is_not_run(trips: int | None) -> None:
    with pytest.raises(LoweringError, match="kills its process"):
        mended(_loop(trips))


def test_a_loop_of_two_trips_runs() -> None:
    program = mended(_loop(2))
    assert _same(program, {"x": np.ones((2, 3), np.float32)})


def test_feeds_go_by_position_where_openvino_loses_names() -> None:
    nodes = [
        helper.make_node("SequenceConstruct", ["a", "b"], ["s"]),
        helper.make_node("SequenceAt", ["s", "i"], ["e"]),
        helper.make_node("Sub", ["e", "a"], ["y"]),
    ]
    feed = {"a": IMAGE[0, 0], "unread": IMAGE[1, 1], "b": IMAGE[0, 1]}
    program = load(_model(nodes, feed, {"i": np.int64(1)}))
    session = OpenVinoSession(program.model, program.signature, threads=1)
    (found,) = session.run(feed)
    np.testing.assert_allclose(found, feed["b"] - feed["a"], rtol=1e-6)


class _Port:
    def __init__(self, *names: str) -> None:
        self.names = set(names)


def test_ports_that_cannot_be_told_apart_are_refused() -> None:
    feed = {"a": IMAGE[0, 0], "b": IMAGE[0, 1]}
    program = load(_model([helper.make_node("Sub", ["a", "b"], ["y"])], feed, {}))
    assert ports_of(program.model, [_Port("b"), _Port("lost")]) == ("b", "a")
    with pytest.raises(LoweringError, match="reads 1 inputs"):
        ports_of(program.model, [_Port("lost")])


def test_integers_of_more_than_32_bits_are_no_feed() -> None:
    feed = {"x": np.array([1, 2])}
    program = _one("Add", feed, {"k": np.array([1, 1])})
    session = OpenVinoSession(program.model, program.signature, threads=1)
    np.testing.assert_array_equal(session.run(feed)[0], [2, 3])
    with pytest.raises(FeedError, match="32 bits"):
        session.run({"x": np.array([1, 2**35])})


def test_the_page_has_each_fault_once() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "openvino.md"
    first = re.findall(r"^\|([^|]*)\|", page.read_text(encoding="utf-8"), re.MULTILINE)
    rows = [rule for cell in first for rule in re.findall(r"OV-[FR]\d+", cell)]
    assert len(set(rows)) == len(rows)
    assert {each.rule for each in FAULTS} <= set(rows)
