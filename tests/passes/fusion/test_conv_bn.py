"""Folding of per-channel affine steps into linear operators: exact, and only where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.ir.text import from_text
from qcompiler.passes.canonicalize import Canonicalize
from qcompiler.passes.fusion.conv_bn import FuseConvBn
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline

Rewrite = Callable[..., Any]
Array = npt.NDArray[Any]

_BN = "float[{c}] s, float[{c}] o, float[{c}] m, float[{c}] v"


def _bn(channels: int) -> str:
    return _BN.format(c=channels)


def _weights(channels: int, **shapes: tuple[int, ...]) -> dict[str, Array]:
    """BatchNormalization statistics with positive variance, and weights, of order one."""
    rng = np.random.default_rng(3)
    found = {name: rng.uniform(-1, 1, channels).astype(np.float32) for name in ("s", "o", "m")}
    found["v"] = rng.uniform(0.5, 2, channels).astype(np.float32)
    for name, shape in shapes.items():
        found[name] = rng.uniform(-1, 1, shape).astype(np.float32)
    return found


CONV = "g (float[2,4,6,6] x) => (float y)"
BN = "BatchNormalization<epsilon = 0.001>({}, s, o, m, v)"


@pytest.mark.parametrize(
    ("text", "weight", "ops"),
    [
        (f"{{ a = Conv<pads=[1,1,1,1]>(x, w, b) y = {BN.format('a')} }}", (6, 4, 3, 3), ["Conv"]),
        (f"{{ a = Conv(x, w) y = {BN.format('a')} }}", (6, 4, 3, 3), ["Conv"]),
        (f"{{ a = Conv<group=2>(x, w) y = {BN.format('a')} }}", (6, 2, 1, 1), ["Conv"]),
        (f"{{ a = ConvTranspose(x, w, b) y = {BN.format('a')} }}", (4, 6, 2, 2), ["ConvTranspose"]),
        (
            f"{{ a = ConvTranspose<group=2>(x, w) y = {BN.format('a')} }}",
            (4, 3, 2, 2),
            ["ConvTranspose"],
        ),
        (f"{{ a = Conv(x, w) c = {BN.format('a')} y = {BN.format('c')} }}", (6, 4, 1, 1), ["Conv"]),
        (f"{{ a = Conv(x, w) c = Add(k, a) y = {BN.format('c')} }}", (6, 4, 1, 1), ["Conv"]),
        ("{ a = Conv(x, w) c = Mul(a, k) y = Add(k, c) }", (6, 4, 1, 1), ["Conv"]),
        ("{ a = Conv(x, w) c = Sub(a, k) y = Div(c, q) }", (6, 4, 1, 1), ["Conv"]),
        ("{ a = Conv(x, w, b) y = Sub(k, a) }", (6, 4, 1, 1), ["Conv"]),
    ],
)
def test_behind_a_convolution(
    text: str, weight: tuple[int, ...], ops: list[str], rewrite: Rewrite
) -> None:
    declared = (
        f"<float[{','.join(map(str, weight))}] w, float[6] b, float[1,6,1,1] k, float q, {_bn(6)}>"
    )
    weights = _weights(6, w=weight, b=(6,), k=(1, 6, 1, 1)) | {"q": np.array(1.75, np.float32)}
    assert list(rewrite(CONV + declared + text, FuseConvBn(), weights=weights).ops) == ops


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("a = Gemm(x, w, b) y = " + BN.format("a"), ["Gemm"]),
        ("a = Gemm<alpha=0.5, beta=2.0>(x, w, b) y = " + BN.format("a"), ["Gemm"]),
        ("a = Gemm<transB=1>(x, t) y = " + BN.format("a"), ["Gemm"]),
        ("a = MatMul(x, w) y = " + BN.format("a"), ["MatMul", "Add"]),
        ("a = MatMul(x, w) c = Add(a, b) y = " + BN.format("c"), ["MatMul", "Add"]),
        ("a = MatMul(x, w) y = Mul(a, b)", ["MatMul"]),
        ("a = MatMul(x, w) y = Add(a, b)", ["MatMul", "Add"]),
    ],
)
def test_t13_behind_a_linear_layer(body: str, ops: list[str], rewrite: Rewrite) -> None:
    text = f"""g (float[3,4] x) => (float[3,6] y)
        <float[4,6] w, float[6,4] t, float[6] b, {_bn(6)}> {{ {body} }}"""
    weights = _weights(6, w=(4, 6), t=(6, 4), b=(6,))
    assert list(rewrite(text, FuseConvBn(), weights=weights).ops) == ops


def test_t4_a_shared_weight_is_folded_from_the_original_each_time(rewrite: Rewrite) -> None:
    text = f"""g (float[1,4,5,5] x) => (float y, float z, float raw) <float[6,4,3,3] w, {_bn(6)}> {{
        a = Conv(x, w) y = BatchNormalization(a, s, o, m, v)
        b = Conv(x, w) z = BatchNormalization(b, o, s, m, v)
        raw = Conv(x, w) }}"""
    found = rewrite(text, FuseConvBn(), weights=_weights(6, w=(6, 4, 3, 3)), tolerance=1e-5)
    assert found.ops == ("Conv", "Conv", "Conv")
    assert len({node.inputs[1].name for node in found.program.graph}) == 3


def test_t3_names_that_the_pass_would_choose_are_taken(rewrite: Rewrite) -> None:
    text = f"""g (float[1,4,5,5] x) => (float y)
        <float[4,4,1,1] w, float[4,4,1,1] w_folded, {_bn(4)}> {{
        b = Conv(x, w) a_bias = BatchNormalization(b, s, o, m, v) a = Conv(a_bias, w_folded)
        y = BatchNormalization(a, s, o, m, v) }}"""
    weights = _weights(4, w=(4, 4, 1, 1), w_folded=(4, 4, 1, 1))
    assert rewrite(text, FuseConvBn(), weights=weights).ops == ("Conv", "Conv")


@pytest.mark.parametrize(
    "body",
    [
        "a = Conv(x, w) y = BatchNormalization(a, s, o, m, v) z = Relu(a)",
        "a = Conv(x, w) y = BatchNormalization(a, s, o, m, v) z = Identity(a)",
    ],
)
def test_a_result_with_another_reader_is_left_alone(body: str, rewrite: Rewrite) -> None:
    text = f"g (float[1,4,5,5] x) => (float y, float z) <float[6,4,1,1] w, {_bn(6)}> {{ {body} }}"
    found = rewrite(text, FuseConvBn(), weights=_weights(6, w=(6, 4, 1, 1)))
    assert "BatchNormalization" in found.ops
    assert not found.reports[0].modified


def test_constants_along_another_axis_are_left_alone(rewrite: Rewrite) -> None:
    text = """g (float[1,4,6,6] x) => (float y) <float[6,4,1,1] w, float[6] k> {
        a = Conv(x, w) y = Mul(a, k) }"""
    assert rewrite(text, FuseConvBn(), weights=_weights(6, w=(6, 4, 1, 1), k=(6,))).ops == (
        "Conv",
        "Mul",
    )


@pytest.mark.parametrize(
    ("attributes", "ops"),
    [("", ["Conv"]), ("<group=2>", ["Conv"]), ("<pads=[1,1,1,1]>", ["BatchNormalization", "Conv"])],
)
def test_in_front_of_a_convolution(attributes: str, ops: list[str], rewrite: Rewrite) -> None:
    shape = (6, 2 if "group" in attributes else 4, 3, 3)
    text = f"""g (float[2,4,6,6] x) => (float y) <float[{",".join(map(str, shape))}] w, {_bn(4)}> {{
        a = BatchNormalization(x, s, o, m, v) y = Conv{attributes}(a, w) }}"""
    assert list(rewrite(text, FuseConvBn(), weights=_weights(4, w=shape)).ops) == ops


def test_scale_and_shift_in_front_of_padding_leave_one_add(rewrite: Rewrite) -> None:
    text = """g (float[2,4,6,6] x) => (float y) <float[4,1,3,3] w, float[1] k, float[1] t> {
        a = Mul(k, x) b = Add(a, t) y = Conv<group=4, pads=[1,1,1,1]>(b, w) }"""
    found = rewrite(text, FuseConvBn(), weights=_weights(4, w=(4, 1, 3, 3), k=(1,), t=(1,)))
    assert found.ops == ("Add", "Conv")


def test_a_scale_alone_crosses_padding_and_transposed_convolutions(rewrite: Rewrite) -> None:
    text = """g (float[2,4,6,6] x) => (float y) <float[4,3,2,2] w, float[1,4,1,1] k> {
        a = Mul(k, x) y = ConvTranspose<group=2, strides=[2,2]>(a, w) }"""
    found = rewrite(text, FuseConvBn(), weights=_weights(4, w=(4, 3, 2, 2), k=(1, 4, 1, 1)))
    assert found.ops == ("ConvTranspose",)


def test_a_step_that_broadcasts_one_channel_to_many_stays(rewrite: Rewrite) -> None:
    text = """g (float[2,1,6,6] x) => (float y) <float[3,4,1,1] w, float[1,4,1,1] k> {
        a = Mul(k, x) y = Conv(a, w) }"""
    found = rewrite(text, FuseConvBn(), weights=_weights(4, w=(3, 4, 1, 1), k=(1, 4, 1, 1)))
    assert found.ops == ("Mul", "Conv")


def test_gemm_takes_the_steps_in_front_of_it(rewrite: Rewrite) -> None:
    text = f"""g (float[3,4] x) => (float[3,6] y) <float[6,4] w, float[6] b, {_bn(4)}> {{
        a = BatchNormalization(x, s, o, m, v) y = Gemm<transB=1, alpha=0.5>(a, w, b) }}"""
    assert rewrite(text, FuseConvBn(), weights=_weights(4, w=(6, 4), b=(6,))).ops == ("Gemm",)


def test_a_fold_that_would_overflow_half_precision_is_refused(rewrite: Rewrite) -> None:
    text = """g (float16[1,2,3,3] x) => (float16 y) <float16[2,2,1,1] w, float16[1] k> {
        a = Conv(x, w) y = Mul(a, k) }"""
    weights = {"w": np.full((2, 2, 1, 1), 1e3, np.float16), "k": np.array([1e2], np.float16)}
    feed = {"x": np.zeros((1, 2, 3, 3), np.float16)}
    assert rewrite(text, FuseConvBn(), weights=weights, feed=feed).ops == ("Conv", "Mul")


def test_half_precision_is_computed_in_double_and_rounded_once(rewrite: Rewrite) -> None:
    text = """g (float16[1,2,3,3] x) => (float16 y) <float16[2,2,1,1] w, float16[1,2,1,1] k> {
        a = Conv(x, w) y = Mul(a, k) }"""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.uniform(-1, 1, (2, 2, 1, 1)).astype(np.float16),
        "k": rng.uniform(0.5, 1, (1, 2, 1, 1)).astype(np.float16),
    }
    # Each of three roundings to 11 bits (weight, sum, product) is off by 2^-11 at most.
    found = rewrite(text, FuseConvBn(), weights=weights, tolerance=4 * 2.0**-11)
    assert found.ops == ("Conv",)
    folded = found.program.graph[0].inputs[1].const_value.numpy()
    exact = weights["w"].astype(np.float64) * weights["k"].reshape(2, 1, 1, 1).astype(np.float64)
    np.testing.assert_array_equal(folded, exact.astype(np.float16))


def test_inside_a_branch_with_a_weight_from_outside(rewrite: Rewrite) -> None:
    text = f"""g (bool c, float[1,4,3,3] x) => (float y) <float[4,4,1,1] w, {_bn(4)}> {{
        y = If(c) <
            then_branch = t () => (float p) {{
                a = Conv(x, w) p = BatchNormalization(a, s, o, m, v) }},
            else_branch = e () => (float q) {{ q = Conv(x, w) }}>
    }}"""
    rng = np.random.default_rng(0)
    feed = {"c": np.array(True), "x": rng.uniform(-1, 1, (1, 4, 3, 3)).astype(np.float32)}
    found = rewrite(text, FuseConvBn(), weights=_weights(4, w=(4, 4, 1, 1)), feed=feed)
    branch = found.program.graph[0].attributes["then_branch"].as_graph()
    assert [node.op_type for node in branch] == ["Conv"]


def test_equal_convolutions_with_different_norms_are_both_folded(rewrite: Rewrite) -> None:
    """Merged first, they would be one convolution with two readers, and neither norm could go."""
    text = f"""{CONV} <float[4,4,1,1] w, {_bn(4)}, float[4] t>
    {{ a = Conv(x, w) b = Conv(x, w) c = {BN.format("a")} d = {BN.format("b").replace("o,", "t,")}
       y = Add(c, d) }}"""
    weights = _weights(4, w=(4, 4, 1, 1), t=(4,))
    found = rewrite(text, Canonicalize(), FuseConvBn(), Canonicalize(), weights=weights)
    assert found.ops == ("Conv", "Conv", "Add")


def test_equal_convolutions_are_one_once_norms_are_folded() -> None:
    text = f"""{CONV} <float[4,4,1,1] w>
    {{ a = Conv(x, w) b = Conv(x, w) c = Relu(a) d = Neg(b) y = Add(c, d) }}"""
    for pipeline, convolutions in (("canonicalize", 2), ("fuse-conv-bn,canonicalize", 1)):
        program = from_text(text, _weights(4, w=(4, 4, 1, 1)))
        Pipeline.parse(pipeline).run(program, PassContext())
        assert [node.op_type for node in program.graph].count("Conv") == convolutions
