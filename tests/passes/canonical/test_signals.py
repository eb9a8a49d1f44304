"""Signals become images of height 1 around convolutions that gain by it; the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcompiler.passes.canonicalize import Canonicalize
from qcompiler.pipeline.contract import PassContext

Rewrite = Callable[..., Any]

# 16 channels of 5 taps: sums of 80 products and more, rounded to 2^-24 each, relative to the sum
# of magnitudes, which is below 16 times the largest result of these networks.
_TOLERANCE = 16 * 144 * 2.0**-24


def test_a_chain_is_raised_as_a_whole(rewrite: Rewrite) -> None:
    text = """g (float[N,16,20] x) => (float[N,32,10] y)
        <float[16,16,5] w, float[16] b, float[32,16,3] u, float[16,1] k, float[1,16,1] t,
         float[16] s, float[16] o, float[16] m, float[16] v, int64[6] n = {0,0,1,0,0,2}> {
        p = Pad(x, n)
        a = Conv<kernel_shape=[5], pads=[1,0]>(p, w, b)
        r = Relu(a)
        c = Mul(r, k)
        d = Add(c, t)
        e = BatchNormalization(d, s, o, m, v)
        f = Add(e, x)
        h = MaxPool<kernel_shape=[2], strides=[2]>(f)
        y = Conv<kernel_shape=[3], pads=[1,1]>(h, u) }"""
    found = rewrite(text, Canonicalize(), tolerance=_TOLERANCE)
    assert [found.ops.count(op) for op in ("Reshape", "Unsqueeze", "Squeeze")] == [0, 1, 1]
    assert found.lines[-2:] == (
        "y_inner = Conv <kernel_shape: ints = [1, 3], pads: ints = [0, 1, 0, 1]> (h, u_raised)",
        "y = Squeeze (y_inner, y_lowered_axes)",
    )


@pytest.mark.parametrize(
    "conv",
    [
        "y = Conv<kernel_shape=[1]>(x, w1)",  # one tap
        "y = Conv<kernel_shape=[3]>(x, w20)",  # channels that fill no block
        "y = Conv<kernel_shape=[3], group=2>(x, grouped)",
        "y = Conv<kernel_shape=[3]>(x, computed)",
    ],
)
def test_what_does_not_gain_stays(conv: str, rewrite: Rewrite) -> None:
    text = f"""g (float[2,16,20] x, float[16,16,3] computed) => (float[2,C,M] y)
        <float[16,16,1] w1, float[20,16,3] w20, float[16,8,3] grouped> {{ {conv} }}"""
    assert rewrite(text, Canonicalize(), tolerance=_TOLERANCE).ops == ("Conv",)


def test_few_channels_need_a_long_kernel(rewrite: Rewrite) -> None:
    text = """g (float[2,1,80] x) => (float[2,16,M] y) <float[16,1,{0}] w> {{
        y = Conv<kernel_shape=[{0}], strides=[4]>(x, w) }}"""
    assert rewrite(text.format(31), Canonicalize()).ops == ("Conv",)
    assert rewrite(text.format(32), Canonicalize()).ops == ("Unsqueeze", "Conv", "Squeeze")


def test_an_activation_stays_with_the_convolution_in_front(rewrite: Rewrite) -> None:
    text = """g (float[2,20,20] x) => (float[2,16,18] y)
        <float[24,20,1] w, float[16,24,3] v> {
        a = Conv<kernel_shape=[1]>(x, w)
        r = Relu(a)
        y = Conv<kernel_shape=[3]>(r, v) }"""
    wide = text.replace("[24,", "[32,").replace(",24,", ",32,")
    assert rewrite(text, Canonicalize(), tolerance=_TOLERANCE).ops == ("Conv", "Relu", "Conv")
    ops = ("Unsqueeze", "Conv", "Relu", "Conv", "Squeeze")
    assert rewrite(wide, Canonicalize(), tolerance=_TOLERANCE).ops == ops


def test_readers_outside_get_the_signal(rewrite: Rewrite) -> None:
    text = """g (float[2,16,20] x) => (float[2,16,20] z, float[2,20,16] t)
        <float[16,16,3] w> {
        a = Conv<kernel_shape=[3], pads=[1,1]>(x, w)
        z = Relu(a)
        t = Transpose<perm=[0,2,1]>(z) }"""
    found = rewrite(text, Canonicalize(), tolerance=_TOLERANCE)
    assert found.ops == ("Unsqueeze", "Conv", "Relu", "Squeeze", "Transpose")


@settings(max_examples=30, deadline=None)
@given(
    taps=st.integers(2, 6),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 2),
    pads=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    depthwise=st.booleans(),
    length=st.integers(12, 30),
)
def test_any_convolution_keeps_its_function(
    taps: int,
    stride: int,
    dilation: int,
    pads: tuple[int, int],
    depthwise: bool,
    length: int,
) -> None:
    from qcompiler.ir.text import from_text  # a fixture cannot be used with @given

    group = 16 if depthwise else 1
    text = f"""g (float[2,16,{length}] x) => (float[2,16,M] y) <float[16,{16 // group},{taps}] w> {{
        y = Conv<kernel_shape=[{taps}], strides=[{stride}], dilations=[{dilation}], group={group},
            pads=[{pads[0]},{pads[1]}]>(x, w) }}"""
    rng = np.random.default_rng(length)
    weights = {"w": rng.uniform(-1, 1, (16, 16 // group, taps)).astype(np.float32)}
    x = rng.uniform(-1, 1, (2, 16, length)).astype(np.float32)
    program = from_text(text, weights)
    Canonicalize().run(program, PassContext())
    result = _run(program, x)
    wanted = _convolved(np.pad(x, ((0, 0), (0, 0), pads)), weights["w"], stride, dilation)
    # 96 products of magnitude at most 1, each sum rounded to 2^-24 relative.
    np.testing.assert_allclose(result, wanted, rtol=0, atol=96 * 96 * 2.0**-24)
    raised = not depthwise or taps >= 3
    assert any(node.op_type == "Unsqueeze" for node in program.graph) == raised


def _run(program: Any, x: Any) -> Any:
    import onnx_ir as ir
    import onnxruntime as ort

    data = ir.to_proto(program.model).SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def _convolved(x: Any, w: Any, stride: int, dilation: int) -> Any:
    """Cross-correlation in float64, by its definition."""
    span = (w.shape[2] - 1) * dilation + 1
    depthwise = w.shape[1] == 1
    steps = range(0, x.shape[2] - span + 1, stride)
    windows = np.stack([x[:, :, i : i + span : dilation] for i in steps], 2).astype(np.float64)
    if depthwise:
        return np.einsum("ncik,ck->nci", windows, w[:, 0].astype(np.float64))
    return np.einsum("ncik,ock->noi", windows, w.astype(np.float64))
