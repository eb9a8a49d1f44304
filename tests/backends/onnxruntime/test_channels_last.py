"""What stands between convolutions on integers is written channels last, and computes the same."""

from __future__ import annotations

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.execution.session import OrtSession
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import all_nodes

CONSTANTS = """float[8] k, float[8,1,1] c, float[6,5] m, float[5] v, float[1,8,6,5] full, float one,
float[8] mean, float[8] var"""
ISLANDS = {
    "twice": "b = Mul(a, a)",
    "by channel": "z = Abs(a) p = Mul(z, c) b = Tanh(p)",
    "by row": "b = Add(a, m)",
    "by column": "b = Sub(v, a)",
    "by element": "b = Add(full, a)",
    "by one": "z = Abs(a) p = Div(z, one) b = Tanh(p)",
    "both ways": "p = Abs(a) q = Mul(a, c) b = Max(p, q)",
    "roots": "p = Mul(a, a) q = Add(p, one) b = Sqrt(q)",
    "normalized": "z = Abs(a) p = BatchNormalization(z, k, k, mean, var) b = Tanh(p)",
    "cut rows": "b = Slice(a, s1, e5, ax2)",
    "cut columns": "p = Mul(a, a) b = Slice(p, s1, e5, axm)",
    "cut channels": "p = Slice(a, s1, e9, ax1) q = Abs(a) r = Slice(q, s1, e9, ax1) b = Add(p, r)",
    "steps": "b = Slice(a, s1, e9, axm, two)",
    "activation": "p = HardSwish(a) b = Tanh(p)",
}
LEFT = {
    "softmax": "p = Mul(a, a) b = Softmax<axis = 1>(p)",
    "mixed": "p = Mul(a, a) n = ReduceMax<keepdims = 1>(p, ax1) b = Sub(p, n)",
    "compared": "p = Greater(a, c) b = Where(p, a, full)",
    "slopes": "p = Abs(a) b = PRelu(p, c)",
}


def compiled(island: str, convolutions: str = "int8") -> qc.Compiled:
    """Conv, the operators of the island in float, Conv."""
    channels = 7 if "e9, ax1" in island else 8
    text = f"""g (float[3,8,6,5] x) => (float[n,8,h,w] y)
    <float[8,8,1,1] u, float[8,{channels},1,1] t, {CONSTANTS}, int64[1] s1 = {{1}},
     int64[1] e5 = {{5}}, int64[1] e9 = {{9}}, int64[1] ax2 = {{2}}, int64[1] axm = {{-1}},
     int64[1] ax1 = {{1}}, int64[1] two = {{2}}>
    {{ [first] a = Conv(x, u) {island} [second] y = Conv(b, t) }}"""
    rng = np.random.default_rng(0)
    shapes: dict[str, int | tuple[int, ...]]
    shapes = {"u": (8, 8, 1, 1), "t": (8, channels, 1, 1), "k": 8, "c": (8, 1, 1), "m": (6, 5)}
    shapes |= {"v": 5, "full": (1, 8, 6, 5), "mean": 8}
    weights = {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}
    weights |= {"var": rng.uniform(0.5, 2, 8), "one": np.array(1.5)}
    stored = {name: np.asarray(each, np.float32) for name, each in weights.items()}
    feeds = [{"x": rng.normal(0, 1, (3, 8, 6, 5)).astype(np.float32)} for _ in range(3)]
    program = from_text(text, stored)
    target = OnnxRuntime(1)
    found = {region.key for region in target.regions(program)}
    chosen = {key: Choice(FLOAT) for key in found} | {
        key: Choice(convolutions) for key in ("first", "second")
    }
    return qc.compile(program, target, feeds, plan=Plan("onnxruntime", chosen), recipe="fast")


def transposes(found: qc.Compiled) -> int:
    """Of the graph that ONNX Runtime runs; one each at the input and at the output are needed."""
    nodes = OrtSession(found.program.model, threads=1).optimized_model().graph
    return sum(node.op_type == "Transpose" for node in nodes)


def written(found: qc.Compiled) -> int:
    return sum(node.op_type == "Transpose" for node in all_nodes(found.program.model))


@pytest.mark.parametrize("island", ISLANDS.values(), ids=ISLANDS)
def test_an_island_computes_the_same(island: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit by bit; a BatchNormalization is rounded otherwise, which may move one step of 255."""
    found = compiled(island)
    found.verify().require()
    assert written(found) > 0
    assert transposes(found) <= 2
    passes = OnnxRuntime.placement.split(",")
    left = ",".join(each for each in passes if each != "lay-channels-last")
    monkeypatch.setattr(OnnxRuntime, "placement", left)
    without = compiled(island)
    assert written(without) == 0
    x = np.random.default_rng(9).normal(0, 1, (3, 8, 6, 5)).astype(np.float32)
    one, other = (np.asarray(each.run({"x": x})[0]) for each in (found, without))
    if "Batch" in island:
        assert np.mean(one != other) < 0.05
        assert np.abs(one - other).max() < 0.05 * np.abs(other).max()
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("island", LEFT.values(), ids=LEFT)
def test_what_minds_the_layout_is_left(island: str) -> None:
    assert written(compiled(island)) == 0


def test_float_convolutions_are_left() -> None:
    assert written(compiled(ISLANDS["twice"], FLOAT)) == 0


def test_signals_are_laid_out_too() -> None:
    """A convolution over [N, C, L] that becomes an image behind the island."""
    text = """g (float[20,1,64] x) => (float[20,16,7] y) <float[32,1,16] u, float[16,16,3] t,
    int64[1] s0 = {0}, int64[1] e1 = {16}, int64[1] e2 = {32}, int64[1] ax = {1}>
    { [first] a = Conv<strides = [6]>(x, u) p = Slice(a, s0, e1, ax) q = Slice(a, e1, e2, ax)
      r = Mul(p, p) s = Mul(q, q) t2 = Add(r, s) b = Sqrt(t2) [second] y = Conv(b, t) }"""
    rng = np.random.default_rng(0)
    shapes = {"u": (32, 1, 16), "t": (16, 16, 3)}
    weights = {k: rng.normal(0, 0.3, v).astype(np.float32) for k, v in shapes.items()}
    feeds = [{"x": rng.normal(0, 1, (20, 1, 64)).astype(np.float32)} for _ in range(3)]
    program = from_text(text, weights)
    found = qc.compile(program, OnnxRuntime(1), feeds, scheme="int8", recipe="fast")
    found.verify().require()
    assert written(found) > 0
    assert transposes(found) <= 2
