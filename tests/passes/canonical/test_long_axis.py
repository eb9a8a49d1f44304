"""Images of width 1 are laid down: the same numbers, Reshapes only at the border of the region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qcompiler.passes.canonicalize import Canonicalize

Rewrite = Callable[..., Any]

_SIGNAL = "g (float[N,4,16,1] x) => (float[N,3,9,1] y)"


def test_a_chain_is_laid_down_as_a_whole(rewrite: Rewrite) -> None:
    text = (
        _SIGNAL
        + """<float[6,4,5,1] w, float[6] b, float[3,2,3,1] u, float[6] s, float[6] o, float[6] m,
        float[6] v, float[1,6,1,1] k, int64[8] n = {0,0,20,0,0,0,7,0}> {
        p = Pad(x, n)
        a = Conv<kernel_shape=[5,1], strides=[2,1], dilations=[2,1]>(p, w, b)
        r = Relu(a)
        c = Mul(r, k)
        d = BatchNormalization(c, s, o, m, v)
        e = MaxPool<kernel_shape=[2,1], strides=[2,1], pads=[1,0,0,0]>(d)
        y = Conv<kernel_shape=[3,1], pads=[1,0,1,0], group=3>(e, u)
        }"""
    )
    found = rewrite(text, Canonicalize())
    assert found.ops[0] == found.ops[-1] == "Reshape"
    assert found.ops.count("Reshape") == 2
    kernels = [n.attributes.get_ints("kernel_shape") for n in found.program.graph]
    assert [list(kernel) for kernel in kernels if kernel] == [[1, 5], [1, 2], [1, 3]]


def test_readers_outside_get_the_value_upright(rewrite: Rewrite) -> None:
    text = """g (float[2,4,16,1] x) => (float[2,4,16,1] y, float[2,4,16,1] z,
        float[2,16,4,1] t) <float[4,4,3,1] w> {
        a = Conv<kernel_shape=[3,1], pads=[1,0,1,0]>(x, w)
        z = Add(a, x)
        t = Transpose<perm=[0,2,1,3]>(z)
        y = Relu(z) }"""
    found = rewrite(text, Canonicalize())
    assert [value.name for value in found.program.graph.outputs] == ["y", "z", "t"]
    assert [value.name for value in found.program.graph.inputs] == ["x"]


@pytest.mark.parametrize(
    "text",
    [
        # wide images, an unknown width, a kernel of one tap, a weight that is computed
        """g (float[1,4,16,2] x) => (float[1,4,14,2] y) <float[4,4,3,1] w> {
            y = Conv<kernel_shape=[3,1]>(x, w) }""",
        """g (float[1,4,16,W] x) => (float[1,4,14,W] y) <float[4,4,3,1] w> {
            y = Conv<kernel_shape=[3,1]>(x, w) }""",
        """g (float[1,4,16,1] x) => (float[1,4,16,1] y) <float[4,4,1,1] w> {
            y = Conv<kernel_shape=[1,1]>(x, w) }""",
        """g (float[1,4,16,1] x, float[4,4,3,1] w) => (float[1,4,14,1] y) {
            y = Conv<kernel_shape=[3,1]>(x, w) }""",
    ],
)
def test_what_is_no_signal_stays(text: str, rewrite: Rewrite) -> None:
    assert rewrite(text, Canonicalize()).ops == ("Conv",)


def test_constants_that_differ_along_the_signal_stop_the_region(rewrite: Rewrite) -> None:
    text = """g (float[1,4,16,1] x) => (float[1,4,14,1] y)
        <float[4,4,3,1] w, float[1,4,14,1] k> {
        a = Conv<kernel_shape=[3,1]>(x, w) y = Mul(a, k) }"""
    assert rewrite(text, Canonicalize()).ops == ("Reshape", "Conv", "Reshape", "Mul")
