"""Values inside If, Loop and Scan bodies, against numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.calibration.run import Calibration

Array = npt.NDArray[Any]
Observe = Callable[..., Calibration]
W = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [-1, -2, -3, -4], [1, 1, 1, 1]], np.float32)
_W = f"<float[4, 4] w = {{{', '.join(str(int(v)) for v in W.ravel())}}}"
T5 = f"""<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 4] x, bool c) => (float[n, 4] y) {_W}>
{{ y = If (c) <
     then_branch = t () => (float[n, 4] a) {{ a = MatMul(x, w) }},
     else_branch = e () => (float[n, 4] b) {{ m = MatMul(x, w)  b = Relu(m) }}> }}"""
LOOP = f"""<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 4] x, int64 k) => (float[n, 4] y, float[t, n, 4] s) {_W}, int64 two = {{2}}>
{{ y, s = Loop (k, , x) <body = l (int64 i, bool go, float[n, 4] v) =>
     (bool go2, float[n, 4] v2, float[n, 4] o) {{
       go2 = Identity(go)  m = MatMul(v, w)  r = Mod(i, two)  odd = Cast<to = 9>(r)
       v2 = If (odd) <
         then_branch = t () => (float[n, 4] a) {{ a = Tanh(m) }},
         else_branch = e () => (float[n, 4] b) {{ q = MatMul(m, w)  b = Relu(q) }}>
       o = Sigmoid(v2) }}> }}"""
SCAN = f"""<ir_version: 10, opset_import: ["" : 21]>
g (float[4] h, float[3, n, 4] x) => (float[4] y, float[4, n] s) {_W}>
{{ z, s = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
     scan_output_axes = [1], scan_output_directions = [1],
     body = l (float[4] v, float[3, 4] e) => (float[4] v2, float[4] o) {{
       m = MatMul(e, w)  ax = Constant<value_ints = [0]>()
       mean = ReduceMean<keepdims = 0>(m, ax)  v2 = Add(v, mean)  o = Tanh(v2) }}> (h, x)
  y = Relu(z)  s2 = Relu(s) }}"""

Seen = dict[str, list[Array]]


def loop_oracle(x: Array, k: int) -> Seen:
    seen: Seen = {name: [] for name in "v m a q b v2 o".split()}
    v = x
    for i in range(k):
        seen["v"].append(v)
        seen["m"].append(v @ W)
        if i % 2:
            seen["a"].append(np.tanh(v @ W))
            v = seen["a"][-1]
        else:
            seen["q"].append(v @ W @ W)
            seen["b"].append(np.maximum(v @ W @ W, 0))
            v = seen["b"][-1]
        seen["v2"].append(v)
        seen["o"].append(1 / (1 + np.exp(-v)))
    return seen


def scan_oracle(h: Array, x: Array) -> Seen:
    seen: Seen = {name: [] for name in "e m mean v v2 o".split()}
    v = h
    for i in reversed(range(x.shape[1])):
        e = x[:, i]
        m = e @ W
        after = v + m.mean(axis=0)
        found = {"e": e, "m": m, "mean": m.mean(axis=0), "v": v, "v2": after, "o": np.tanh(after)}
        for name, value in found.items():
            seen[name].append(value)
        v = after
    return {**seen, "s": [np.stack(seen["o"])], "y": [np.maximum(v, 0)]}


def check(result: Calibration, oracle: Seen) -> None:
    for name, arrays in oracle.items():
        values = np.concatenate([each.ravel() for each in arrays])
        observer = result.observations[name]
        assert observer.low == pytest.approx(values.min(), rel=1e-4, abs=1e-4), name
        assert observer.high == pytest.approx(values.max(), rel=1e-4, abs=1e-4), name
        assert observer.count == values.size, name


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_t5_branches(observe: Observe, rng: np.random.Generator, method: str) -> None:
    x = rng.standard_normal((3, 4), dtype=np.float32)
    taken, other = {"x": x, "c": np.array(True)}, {"x": 2 * x, "c": np.array(False)}
    both = observe(T5, [taken, other], method)
    check(both, {"a": [x @ W], "m": [2 * x @ W], "b": [np.maximum(2 * x @ W, 0)]})
    one = observe(T5, [taken], method).observations
    assert "a" in one
    assert "m" not in one
    assert "b" not in one


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_an_if_in_a_loop(observe: Observe, rng: np.random.Generator, method: str) -> None:
    feeds = [
        {"x": rng.standard_normal((n, 4), dtype=np.float32), "k": np.array(k)}
        for n, k in ((2, 3), (5, 0), (1, 1))
    ]
    parts = [loop_oracle(feed["x"], int(feed["k"])) for feed in feeds]
    merged = {name: [array for part in parts for array in part[name]] for name in parts[0]}
    check(observe(LOOP, feeds, method), merged)


def test_a_loop_that_never_runs(observe: Observe, rng: np.random.Generator) -> None:
    feed = {"x": rng.standard_normal((2, 4), dtype=np.float32), "k": np.array(0)}
    assert "m" not in observe(LOOP, [feed]).observations


@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_scan_backwards_along_another_axis(
    observe: Observe, rng: np.random.Generator, method: str
) -> None:
    h, x = np.ones(4, np.float32), rng.standard_normal((3, 7, 4), dtype=np.float32)
    check(observe(SCAN, [{"h": h, "x": x}], method), scan_oracle(h, x))
