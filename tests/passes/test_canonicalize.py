"""Canonicalization, rule by rule: structure, function (ONNX Runtime), and when not to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qcompiler.ir.kept import keep_float
from qcompiler.ir.text import from_text
from qcompiler.passes.canonicalize import Canonicalize
from qcompiler.pipeline.contract import PassContext

Rewrite = Callable[..., Any]

X = "g (float[N,4,6,6] x) => (float[N,4,6,6] y)"


@pytest.mark.parametrize(
    ("text", "ops"),
    [
        (X + "{ a = Identity(x) b = Identity(a) y = Relu(b) }", ["Relu"]),
        (X + "{ a = Dropout(x) y = Relu(a) }", ["Relu"]),
        (X + "<float one = {1.0}> { a = Mul(one, x) b = Div(a, one) y = Relu(b) }", ["Relu"]),
        (X + "<float z = {0.0}> { a = Add(x, z) b = Sub(a, z) y = Relu(b) }", ["Relu"]),
        (X + "{ a = Cast<to = 1>(x) y = Relu(a) }", ["Relu"]),
        (X + "{ a = Sum(x) y = Sum(a, a, x) }", ["Add", "Add"]),
        (X + "<float two = {2.0}> { y = Pow(x, two) }", ["Mul"]),
        (X + "<float c = {3.0}> { y = Div(x, c) }", ["Mul"]),
        (X + "{ a = Concat<axis = 1>(x) y = Relu(a) }", ["Relu"]),
        (X + "{ a = Transpose<perm=[0,2,3,1]>(x) y = Transpose<perm=[0,3,1,2]>(a) }", ["Identity"]),
        (
            X + "{ a = Transpose<perm=[0,2,3,1]>(x) b = Transpose<perm=[0,2,1,3]>(a) y = Relu(b) }",
            ["Transpose", "Relu"],
        ),
        (
            (
                "g (float[2,12] x) => (float[6,4] y) <int64[3] s = {4,3,2}, int64[2] t = {6,4}>"
                "{ a = Reshape(x, s) y = Reshape(a, t) }"
            ),
            ["Reshape"],
        ),
        (X + "{ a = Abs(x) b = Abs(x) y = Add(a, b) }", ["Abs", "Add"]),
    ],
)
def test_what_changes_nothing_goes(text: str, ops: list[str], rewrite: Rewrite) -> None:
    ops_left = list(rewrite(text.replace("float[N", "float[2"), Canonicalize()).ops)
    if ops == ["Identity"]:
        # An output that is the input keeps both names: the pair may stay, or become a copy.
        assert ops_left in (["Identity"], ["Transpose", "Transpose"])
    else:
        assert ops_left == ops


def test_golden_text(rewrite: Rewrite) -> None:
    text = """
    g (float[1,3,8,8] x) => (float[1,3,8,8] y)
    <float[1] three = {3.0}, float low = {0.0}, float high = {6.0}, float[1] six = {6.0}> {
        kept = Identity(x)
        a = Add(kept, three)
        b = Clip(a, low, high)
        c = Mul(kept, b)
        d = Div(c, six)
        y = Relu(d)
    }"""
    assert rewrite(text, Canonicalize()).lines == ("d = HardSwish (x)", "y = Relu (d)")


def test_arithmetic_that_widens_the_result_stays(rewrite: Rewrite) -> None:
    text = "g (float[4] x) => (float[3,4] y) <float[3,1] ones = {1,1,1}> { y = Mul(x, ones) }"
    assert rewrite(text, Canonicalize()).ops == ("Mul",)


def test_elements_of_a_matrix_of_sizes_are_not_read_in_one_order(rewrite: Rewrite) -> None:
    text = """
    g (float[N,3] x) => (float[a,b] y, float[c,d] z)
    <int64[1] first = {0}, int64 none = {0}, int64[1] one = {1}> {
        s = Shape(x)  u = Unsqueeze(s, first)
        g = Gather(u, none)  y = Reshape(x, g)
        t = Slice(u, first, one)  h = Squeeze(t, first)  z = Reshape(x, h)
    }"""
    rewrite(text, Canonicalize())


def test_texts_are_no_constants(rewrite: Rewrite) -> None:
    text = """g (float[2] x) => (float[2] y) <float[2] k = {1,2}> {
        s = Cast<to = 8>(k)  n = Cast<to = 1>(s)  y = Add(x, n) }"""
    assert rewrite(text, Canonicalize()).ops == ("Cast", "Cast", "Add")


@pytest.mark.parametrize("kept", [False, True])
def test_what_a_rewrite_keeps_in_float_is_no_duplicate(kept: bool, rewrite: Rewrite) -> None:
    program = from_text("g (float[4] x) => (float[4] y) { a = Tanh(x) b = Tanh(x) y = Add(a, b) }")
    if kept:
        keep_float(program.graph[1], "a test")
    Canonicalize().run(program, PassContext())
    assert len(program.graph) == (3 if kept else 2)


def test_dropout_with_a_used_mask_stays(rewrite: Rewrite) -> None:
    text = "g (float[4] x) => (float[4] y, bool[4] m) { y, m = Dropout(x) }"
    assert rewrite(text, Canonicalize()).ops == ("Dropout",)


def test_shape_arithmetic_of_a_dynamic_batch_becomes_a_constant_target(rewrite: Rewrite) -> None:
    text = """
    g (float[N,4,6] x) => (float[N,24] y)
    <int64 zero = {0}, int64[1] axis = {0}, int64[1] c = {24}> {
        s = Shape(x)
        n = Gather<axis = 0>(s, zero)
        u = Unsqueeze(n, axis)
        t = Concat<axis = 0>(u, c)
        y = Reshape(x, t)
    }"""
    assert rewrite(text, Canonicalize()).ops == ("Reshape",)


def test_two_open_dimensions_are_left_alone(rewrite: Rewrite) -> None:
    text = """
    g (float[N,M,6] x) => (float[N,M,2,3] y)
    <int64[1] b = {0}, int64[1] e = {2}, int64[2] c = {2,3}> {
        s = Shape(x)
        h = Slice(s, b, e)
        t = Concat<axis = 0>(h, c)
        y = Reshape(x, t)
    }"""
    assert "Shape" in rewrite(text, Canonicalize()).ops


def test_same_padding_of_tensorflow_folds_into_the_convolution(rewrite: Rewrite) -> None:
    text = """
    g (float[1,4,7,7] x) => (float[1,4,4,4] y)
    <float[4,4,3,3] w, int64[1] four = {4}, int64[4] p = {1,1,1,1}, int64[2] two = {-1,2},
     int64[1] m = {-1}, int64[1] far = {-9223372036854775807}, int64[1] ax = {0}> {
        z = ConstantOfShape<value = int64[1] {0}>(four)
        c = Concat<axis = 0>(p, z)
        r = Reshape(c, two)
        s = Slice(r, m, far, ax, m)
        t = Transpose<perm = [1,0]>(s)
        q = Reshape(t, m)
        i = Cast<to = 7>(q)
        padded = Pad<mode = "constant">(x, i)
        y = Conv<kernel_shape = [3,3], strides = [2,2]>(padded, w)
    }"""
    found = rewrite(text, Canonicalize())
    assert found.ops == ("Conv",)
    assert list(found.program.graph[0].attributes["pads"].as_ints()) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("op", "folds"),
    [
        ("y = AveragePool<kernel_shape=[3,3]>(p)", True),
        ("y = MaxPool<kernel_shape=[3,3]>(p)", True),
        ("y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(p)", False),
    ],
)
def test_pad_in_front_of_pooling(op: str, folds: bool, rewrite: Rewrite) -> None:
    text = (
        "g (float[1,2,6,6] x) => (float y)"
        "<int64[8] n = {0,0,1,1,0,0,1,1}> { r = Relu(x) p = Pad(r, n) " + op + "}"
    )
    assert ("Pad" not in rewrite(text, Canonicalize()).ops) is folds


def test_zeros_are_not_ignored_by_max_pool_on_negative_values(rewrite: Rewrite) -> None:
    text = """g (float[1,2,6,6] x) => (float y) <int64[8] n = {0,0,1,1,0,0,1,1}> {
        p = Pad(x, n) y = MaxPool<kernel_shape=[3,3]>(p) }"""
    assert rewrite(text, Canonicalize()).ops == ("Pad", "MaxPool")


def test_large_padding_stays_in_front_of_the_convolution(rewrite: Rewrite) -> None:
    text = """g (float[1,1,64,1] x) => (float y)
    <float[4,1,32,1] w, int64[8] n = {0,0,15,0,0,0,16,0}> {
        p = Pad(x, n) y = Conv<kernel_shape=[32,1]>(p, w) }"""
    found = rewrite(text, Canonicalize())
    assert found.ops == ("Pad", "Conv")
    assert len(found.program.graph[0].inputs) == 4, (
        "the axes operand keeps the runtime from folding"
    )


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("y = Max(x, zero)", ["Relu"]),
        ("a = Max(x, zero) y = Min(six, a)", ["Clip"]),
        ("y = Clip(x, zero)", ["Relu"]),
        ("a = Relu(x) y = Clip(a, minus, six)", ["Clip"]),
        ("a = Clip(x, zero, six) y = Relu(a)", ["Clip"]),
        ("a = Sigmoid(x) y = Relu(a)", ["Sigmoid"]),
        ("a = Max(x, low) y = Abs(a)", ["Abs"]),
        ("a = Clip(x, six, zero) y = Clip(a, minus, one)", ["Clip"]),
        ("a = Sigmoid(x) y = Clip(a, zero, six)", ["Sigmoid"]),
        ("a = Softmax(x) y = Clip(a, minus, one)", ["Softmax"]),
        ("a = Tanh(x) y = Clip(a, minus, zero)", ["Tanh", "Clip"]),
    ],
)
def test_clamps(body: str, ops: list[str], rewrite: Rewrite) -> None:
    text = (
        "g (float[2,8] x) => (float[2,8] y) <float zero = {0.0}, float six = {6.0}, "
        "float one = {1.0}, float minus = {-2.0}, float low = {-3.4028235e38}> {" + body + "}"
    )
    assert list(rewrite(text, Canonicalize()).ops) == ops


def test_a_clamp_that_others_read_is_not_merged(rewrite: Rewrite) -> None:
    text = """g (float[8] x) => (float[8] y, float[8] z) <float l = {-2.0}, float h = {6.0}> {
        a = Relu(x) y = Clip(a, l, h) z = Abs(a) }"""
    assert rewrite(text, Canonicalize()).ops == ("Relu", "Clip", "Abs")


def test_half_precision_weight_behind_cast_and_transpose(rewrite: Rewrite) -> None:
    text = """g (float[2,4] x) => (float[2,3] y) <float16[3,4] w> {
        a = Cast<to = 1>(w) t = Transpose<perm=[1,0]>(a) i = Identity(t) y = MatMul(x, i) }"""
    found = rewrite(text, Canonicalize())
    assert found.ops == ("MatMul",)


def test_a_large_weight_with_two_readers_is_not_copied(rewrite: Rewrite) -> None:
    text = """g (float[1,256] x, int64[2] ids) => (float y, float z) <float[300,256] e> {
        t = Transpose<perm=[1,0]>(e) y = MatMul(x, t) z = Gather(e, ids) }"""
    feed = {"x": np.ones((1, 256), np.float32), "ids": np.array([1, 2])}
    found = rewrite(text, Canonicalize(), feed=feed, tolerance=256 * 2.0**-24)
    assert found.ops == ("Transpose", "MatMul", "Gather")


def test_a_large_weight_in_parts_in_another_order_becomes_one_constant(rewrite: Rewrite) -> None:
    text = """g (float[2,300] x) => (float[2,256] y) <float[300,256] w,
        int64[1] zero = {0}, int64[1] middle = {128}, int64[1] end = {256}, int64[1] one = {1}> {
        a = Slice(w, zero, middle, one) b = Slice(w, middle, end, one)
        c = Concat<axis=1>(b, a) y = MatMul(x, c) }"""
    found = rewrite(text, Canonicalize(), tolerance=300 * 2.0**-24)
    assert found.ops == ("MatMul",)


@pytest.mark.parametrize(("end", "more"), [(200, ""), (128, "z = Abs(w)")])
def test_parts_that_overlap_or_a_weight_that_is_read_whole_are_not_copied(
    rewrite: Rewrite, end: int, more: str
) -> None:
    outputs = "float y, float z" if more else "float y"
    text = f"""g (float[2,300] x) => ({outputs}) <float[300,256] w,
        int64[1] zero = {{0}}, int64[1] a_end = {{{end}}}, int64[1] b_start = {{128}},
        int64[1] b_end = {{256}}, int64[1] one = {{1}}> {{
        a = Slice(w, zero, a_end, one) b = Slice(w, b_start, b_end, one)
        c = Concat<axis=1>(b, a) y = MatMul(x, c) {more} }}"""
    found = rewrite(text, Canonicalize(), tolerance=300 * 2.0**-24)
    assert found.ops.count("Slice") == 2


def test_quantized_weights_stay_quantized(rewrite: Rewrite) -> None:
    text = """g (float[1,4] x) => (float[1,2] y) <int8[4,2] w = {1,2,3,4,5,6,7,8}, float s = {0.5},
        int8 z = {0}> { d = DequantizeLinear(w, s, z) y = MatMul(x, d) }"""
    assert rewrite(text, Canonicalize()).ops == ("DequantizeLinear", "MatMul")


def test_outputs_keep_their_names_when_they_are_constant_or_equal(rewrite: Rewrite) -> None:
    text = """g (float[2] x) => (float[2] y, float[2] z, float[2] same) {
        y = Abs(x) a = Abs(x) z = Identity(a) same = Identity(x) }"""
    assert set(rewrite(text, Canonicalize()).ops) <= {"Abs", "Identity"}


def test_bodies_of_subgraphs_are_rewritten_too(rewrite: Rewrite) -> None:
    text = """g (bool c, float[2] x) => (float[2] y) <float one = {1.0}> {
        y = If(c) <
            then_branch = t () => (float[2] p) { a = Mul(x, one) p = Relu(a) },
            else_branch = e () => (float[2] q) { b = Identity(x) q = Neg(b) }>
    }"""
    feed = {"c": np.array(True), "x": np.array([-1, 2], np.float32)}
    found = rewrite(text, Canonicalize(), feed=feed)
    branch = found.program.graph[0].attributes["then_branch"].as_graph()
    assert [node.op_type for node in branch] == ["Relu"]


def test_the_report_counts_what_was_done(rewrite: Rewrite) -> None:
    text = X.replace("N", "1") + "{ a = Identity(x) b = Identity(a) y = Relu(b) }"
    report = rewrite(text, Canonicalize()).reports[0]
    assert report.details["identity"] == 2
    assert report.edits.erased == 2
