"""Shifts move between biases: the float function stays, the range gets narrower."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.frontends.inference import infer_types
from qcompiler.ir.program import Program, Property
from qcompiler.ir.text import from_text
from qcompiler.ir.verifier import verify
from qcompiler.passes.accuracy.absorb_high_bias import AbsorbHighBias
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from tests.oracle import unoptimized

Array = npt.NDArray[Any]

_ROUNDING = 256 * 2.0**-24
"""Sums of up to 64 terms of values that shifts made larger, relative to the largest result."""


def _results(program: Program, feed: dict[str, Array], names: tuple[str, ...]) -> dict[str, Array]:
    """Values by name, of ONNX Runtime without its optimizations."""
    model = program.model.clone()
    known = {value.name: value for node in model.graph for value in node.outputs}
    for name in names:
        if known[name] not in model.graph.outputs:
            model.graph.outputs.append(known[name])
    outputs = [value.name or "" for value in model.graph.outputs]
    return dict(zip(outputs, unoptimized(model, feed), strict=True))


def _moved(
    text: str, weights: dict[str, Array], feeds: list[dict[str, Array]], **options: Any
) -> tuple[Program, Program, int]:
    program = from_text(text, weights)
    infer_types(program.model)
    absorb = AbsorbHighBias(**options)
    program.requests.update(dict.fromkeys(absorb.requests(program, None)))
    program.properties |= {Property.OBSERVED}
    Pipeline.parse("calibrate").run(program, PassContext(feeds=feeds))
    changed = program.clone()
    report = absorb.run(changed, PassContext())
    assert [str(finding) for finding in verify(changed)] == []
    return program, changed, int(report.details["values"])


_CASES = {
    "convolutions": ("""g (float[1,3,6,6] x) => (float[1,4,6,6] y)
        <float[5,3,1,1] w, float[5] b, float[4,5,1,1] v> {{
        a = Conv(x, w, b) m = {act}(a) y = Conv(m, v) }}""", [1, 3, 6, 6]),
    "groups": ("""g (float[1,3,6,6] x) => (float[1,4,4,4] y)
        <float[6,3,1,1] w, float[6] b, float[4,3,3,3] v, float[4] c> {{
        a = Conv(x, w, b) m = {act}(a) y = Conv<group=2>(m, v, c) }}""", [1, 3, 6, 6]),
    "gemm": ("""g (float[7,3] x) => (float[7,4] y)
        <float[3,5] w, float[5] b, float[4,5] v, float[4] c> {{
        a = Gemm<beta=2.0>(x, w, b) m = {act}(a)
        y = Gemm<transB=1, alpha=0.5, beta=3.0>(m, v, c) }}""", [7, 3]),
    "matmul": ("""g (float[2,7,3] x) => (float[2,7,4] y)
        <float[3,5] w, float[5] b, float[5,4] v, float[4] c> {{
        p = MatMul(x, w) a = Add(p, b) m = {act}(a) q = MatMul(m, v) y = Add(q, c) }}""",
        [2, 7, 3]),
    "norm, two readers": ("""g (float[2,7,5] x) => (float[2,7,4] y, float[2,7,4] z)
        <float[5] w, float[5] b, float[5,4] v, float[4] c, float[5,4] u, float[4] d> {{
        a = LayerNormalization(x, w, b) m = {act}(a)
        q = MatMul(m, v) y = Add(q, c) r = MatMul(m, u) z = Add(r, d) }}""", [2, 7, 5]),
}  # fmt: skip


def _drawn(text: str) -> tuple[dict[str, Array], np.random.Generator]:
    """Small weights, and biases that are large and differ from channel to channel."""
    rng = np.random.default_rng(8)
    found = from_text(text.format(act="Relu"))
    weights: dict[str, Array] = {}
    for name, value in found.graph.initializers.items():
        assert value.shape is not None
        shape = [int(dim) for dim in value.shape.numpy()]
        drawn = rng.normal(0, 0.2, shape) + (rng.uniform(5, 9, shape) if name == "b" else 0)
        weights[name] = drawn.astype(np.float32)
    return weights, rng


@pytest.mark.parametrize("act", ["Relu", "Identity"])
@pytest.mark.parametrize("name", _CASES)
def test_the_function_stays_and_the_range_shrinks(name: str, act: str) -> None:
    text, shape = _CASES[name]
    if act == "Identity":
        text = text.replace(" m = {act}(a)", "").replace("(m,", "(a,")
    weights, rng = _drawn(text)
    feeds = [{"x": rng.normal(0, 1, shape).astype(np.float32)} for _ in range(8)]
    program, changed, count = _moved(text.format(act=act), weights, feeds)
    assert count == 1
    read = "m" if act == "Relu" else "a"
    for feed in feeds:
        before, after = (_results(each, feed, (read,)) for each in (program, changed))
        for key in before.keys() - {read}:
            bound = _ROUNDING * max(1.0, float(np.abs(before[key]).max()))
            np.testing.assert_allclose(after[key], before[key], rtol=0, atol=bound)
        reach = [float(np.abs(each[read]).max()) for each in (before, after)]
        assert reach[1] < 0.6 * reach[0]


_REFUSED = {
    "zeros are padded": "m = Relu(a) y = Conv<pads=[1,1,1,1]>(m, v)",
    "something else reads it": "m = Relu(a) p = Conv(m, v) q = GlobalAveragePool(m) y = Add(p, q)",
    "another activation": "m = Sigmoid(a) y = Conv(m, v)",
    "nothing to gain": "n = Relu(a) m = Neg(n) y = Conv(m, v)",
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_cannot_take_a_shift_up_is_left_alone(name: str) -> None:
    text = f"""g (float[1,3,6,6] x) => (float[1,5,N,M] y)
        <float[5,3,1,1] w, float[5] b, float[5,5,1,1] v> {{
        a = Conv(x, w, b) {_REFUSED[name]} }}"""
    weights, rng = _drawn(text.replace("{", "{{").replace("}", "}}"))
    feeds = [{"x": rng.normal(0, 1, (1, 3, 6, 6)).astype(np.float32)} for _ in range(4)]
    assert _moved(text, weights, feeds)[2] == 0


def test_a_channel_that_falls_to_zero_is_not_shifted_through_a_relu() -> None:
    text, shape = _CASES["convolutions"]
    weights, rng = _drawn(text)
    weights["b"] = np.asarray([9, 0, 9, 9, 9], np.float32)
    feeds = [{"x": rng.normal(0, 1, shape).astype(np.float32)} for _ in range(8)]
    _, changed, count = _moved(text.format(act="Relu"), weights, feeds)
    assert count == 1
    bias = next(iter(changed.graph)).inputs[2]
    assert bias is not None
    assert bias.const_value is not None
    found = bias.const_value.numpy()
    assert found[1] == 0
    assert np.all(found[[0, 2, 3, 4]] < 4)
    assert _moved(text.format(act="Relu"), weights, feeds, center=False)[2] == 1
