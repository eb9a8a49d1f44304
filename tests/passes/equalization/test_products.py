"""Weights of every kind take up scales on both sides: ONNX Runtime computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Array = npt.NDArray[Any]

_IMAGE = [2, 4, 6, 6]
_ROWS = [2, 5, 4]
_CASES: dict[str, tuple[list[int], dict[str, list[int]], str, int]] = {
    # input, constants, nodes, free scales
    "depthwise chain": (_IMAGE, {"w": [6, 4, 1, 1], "d": [6, 1, 3, 3], "e": [6], "v": [4, 6, 1, 1]},
        ("a = Conv(x, w) b = Relu(a) c = Conv<group=6, pads=[1,1,1,1]>(b, d, e) f = Relu(c)"
         " y = Conv(f, v)"), 12),
    "groups": (_IMAGE, {"w": [6, 2, 3, 3], "v": [4, 3, 1, 1]},
        "a = Conv<group=2>(x, w) b = Relu(a) y = Conv<group=2>(b, v)", 6),
    "transposed": (_IMAGE, {"w": [4, 6, 2, 2], "b": [6], "v": [6, 4, 2, 2]},
        "a = ConvTranspose<strides=[2,2]>(x, w, b) c = Relu(a) y = ConvTranspose(c, v)", 6),
    "transposed groups": (_IMAGE, {"w": [4, 3, 2, 2], "b": [6], "v": [6, 2, 2, 2]},
        "a = ConvTranspose<group=2>(x, w, b) c = Relu(a) y = ConvTranspose<group=2>(c, v)", 6),
    "gemm": ([3, 4], {"w": [4, 6], "b": [6], "v": [5, 6], "c": [5]},
        "a = Gemm<alpha=0.5, beta=2.0>(x, w, b) d = Relu(a) y = Gemm<transB=1>(d, v, c)", 6),
    "gemm, computed bias": ([3, 4], {"w": [4, 6], "u": [4, 6], "v": [5, 6]},
        "e = MatMul(x, u) a = Gemm(x, w, e) d = Relu(a) y = Gemm<transB=1>(d, v)", 6),
    "turned gemm": ([4, 3], {"w": [4, 6], "v": [5, 6]},
        "a = Gemm<transA=1>(x, w) d = Relu(a) y = Gemm<transB=1>(d, v)", 0),
    "matmul": (_ROWS, {"w": [4, 6], "b": [6], "v": [6, 3]},
        "a = MatMul(x, w) c = Add(a, b) d = Relu(c) y = MatMul(d, v)", 6),
    "constant on the left": (_ROWS, {"w": [6, 5], "b": [6, 1], "v": [3, 6]},
        "a = MatMul(w, x) c = Add(a, b) d = Relu(c) y = MatMul(v, d)", 6),
    "batched weight": ([2, 3, 5, 4], {"w": [3, 4, 6], "v": [3, 6, 2]},
        "a = MatMul(x, w) d = Relu(a) y = MatMul(d, v)", 6),
    "one weight twice": (_ROWS, {"w": [4, 4]}, "a = MatMul(x, w) d = Relu(a) y = MatMul(d, w)", 0),
    "one input, two readers": (_ROWS, {"w": [4, 6], "v": [6, 3], "u": [6, 3]},
        "a = MatMul(x, w) d = Relu(a) e = MatMul(d, v) f = MatMul(d, u) y = Add(e, f)", 6),
    "layer norm": (_ROWS, {"g": [4], "b": [4], "v": [4, 3]},
        "a = LayerNormalization(x, g, b) y = MatMul(a, v)", 4),
    "layer norm without shift": (_ROWS, {"g": [4], "v": [4, 3]},
        "a = LayerNormalization(x, g) y = MatMul(a, v)", 4),
    "residual behind a norm": (_ROWS, {"g": [4], "v": [4, 4]},
        ("a = LayerNormalization(x, g) b = MatMul(a, v) c = Add(a, b)"
         " y = LayerNormalization(c, g)"), 0),
    "rms norm": (_ROWS, {"g": [4], "v": [4, 3]},
        ("e = Mul(x, x) f = Softmax(e) a = ReduceMax(f) b = Div(x, a)"
        " c = Mul(b, g) y = MatMul(c, v)"), 4),
    "lstm": (_ROWS, {"w": [4, 6], "i": [2, 12, 6], "r": [2, 12, 3], "b": [2, 24]},
        "a = MatMul(x, w) y = LSTM<hidden_size=3, direction=\"bidirectional\">(a, i, r, b)", 6),
    "gru": (_ROWS, {"w": [4, 6], "i": [1, 9, 6], "r": [1, 9, 3]},
        "a = MatMul(x, w) y = GRU<hidden_size=3>(a, i, r)", 6),
    "rnn": (_ROWS, {"w": [4, 6], "i": [1, 3, 6], "r": [1, 3, 3]},
        "a = MatMul(x, w) y = RNN<hidden_size=3>(a, i, r)", 6),
    "state of an lstm": (_ROWS, {"w": [4, 3], "i": [1, 12, 3], "r": [1, 12, 3], "h": [1, 5, 3],
        "u": [3, 2]},
        ("a = MatMul(x, w) c = Relu(a) d = ReduceSum(c) f = Mul(h, d)"
        " y = LSTM<hidden_size=3>(a, i, r, , , f)"
         " z = MatMul(y, u)"), 0),
}  # fmt: skip


def _drawn(rng: np.random.Generator, shape: list[int]) -> Array:
    signs = rng.choice(np.asarray([-1.0, 1.0]), shape)
    return np.asarray(rng.uniform(0.2, 1.5, shape) * signs, np.float32)


@pytest.mark.parametrize("name", _CASES)
def test_weights(name: str, scale: Callable[..., Any]) -> None:
    shape, constants, nodes, free = _CASES[name]
    rng = np.random.default_rng(3)
    arrays = {key: _drawn(rng, each) for key, each in constants.items()}
    listed = ", ".join(f"float{list(each.shape)} {key}" for key, each in arrays.items())
    result = "float z" if " z = " in nodes else "float y"
    text = f"g (float{shape} x) => ({result}) <{listed}> {{ {nodes} }}"
    found = scale(text, arrays, {"x": _drawn(rng, shape)})
    assert found.free == free
    assert found.error <= 1


_ATTENTION = """g (float[2,5,8] x) => (float[2,5,6] y) <float[8,8] q, float[8,8] k, float[8,8] v,
    float[8,6] o, int64[4] heads, int64[3] back> {
    a = MatMul(x, q) b = MatMul(x, k) c = MatMul(x, v)
    a1 = Reshape(a, heads) a2 = Transpose<perm=[0,2,1,3]>(a1)
    b1 = Reshape(b, heads) b2 = Transpose<perm=[0,2,3,1]>(b1)
    c1 = Reshape(c, heads) c2 = Transpose<perm=[0,2,1,3]>(c1)
    d = MatMul(a2, b2) e = Softmax<axis=-1>(d) f = MatMul(e, c2)
    f1 = Transpose<perm=[0,2,1,3]>(f) f2 = Reshape(f1, back) y = MatMul(f2, o) }"""


def test_values_of_attention_are_scaled_through_their_heads(scale: Callable[..., Any]) -> None:
    rng = np.random.default_rng(5)
    arrays: dict[str, Array] = {key: _drawn(rng, [8, 8]) for key in "qkv"}
    arrays |= {"o": _drawn(rng, [8, 6]), "heads": np.asarray([0, 0, 2, 4])}
    arrays["back"] = np.asarray([0, 0, 8])
    found = scale(_ATTENTION, arrays, {"x": _drawn(rng, [2, 5, 8])})
    assert found.free == 8
    assert found.error <= 1


_STEPS = {
    "relu": "Relu({0})",
    "leaky": "LeakyRelu<alpha=0.1>({0})",
    "max": "MaxPool<kernel_shape=[2,2], pads=[0,0,1,1]>({0})",
    "mean": "AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>({0})",
    "sigmoid": "Sigmoid({0})",
    "twice": "Concat<axis=1>({0}, {0})",
    "sum": "Add({0}, {1})",
    "gate": "Mul({0}, {1})",
    "conv": "Conv<pads=[1,1,1,1]>({0}, w{n}, b{n})",
    "depthwise": "Conv<pads=[1,1,1,1], group={c}>({0}, w{n}, b{n})",
}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_chain_computes_the_same(data: st.DataObject, scale: Callable[..., Any]) -> None:
    """Drawn chains of layers with skips: whatever is found free, no output moves."""
    steps = data.draw(st.lists(st.sampled_from(sorted(_STEPS)), min_size=3, max_size=9))
    seed = data.draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    lines, weights, made = [], {}, [("x", 3)]
    for number, step in enumerate(["conv", *steps, "conv"]):
        last, width = made[-1]
        other = next((name for name, size in made[-2::-1] if size == width), last)
        if step in ("conv", "depthwise"):
            groups = width if step == "depthwise" else 1
            out = width if groups > 1 else int(rng.integers(2, 6))
            weights[f"w{number}"] = _drawn(rng, [out, width // groups, 3, 3])
            weights[f"b{number}"] = _drawn(rng, [out])
            new = out
        else:
            new = 2 * width if step == "twice" else width
        if new > 24:
            continue
        value = _STEPS[step].format(last, other, n=number, c=width)
        lines.append(f"v{number} = {value}")
        made.append((f"v{number}", new))
    listed = ", ".join(f"float{list(each.shape)} {key}" for key, each in weights.items())
    text = f"g (float[1,3,5,5] x) => (float {made[-1][0]}) <{listed}> {{ " + "\n".join(lines) + " }"
    found = scale(text, weights, {"x": _drawn(rng, [1, 3, 5, 5])}, seed)
    assert found.error <= 4  # up to eleven layers


def test_a_stored_table_takes_up_the_scales_of_its_columns(scale: Callable[..., Any]) -> None:
    text = """g (int64[2,3] x) => (float[2,3,2] y) <float[7,4] t, float[4,2] v> {
        a = Gather(t, x) b = Relu(a) y = MatMul(b, v) }"""
    rng = np.random.default_rng(3)
    arrays = {"t": _drawn(rng, [7, 4]), "v": _drawn(rng, [4, 2])}
    found = scale(text, arrays, {"x": np.asarray([[0, 6, 2], [3, 3, 1]])})
    assert found.free == 4
    assert found.error <= 1
