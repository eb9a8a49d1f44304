"""Functions that exporters take apart are recognised, each with its near misses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qcompiler.passes.canonicalize import Canonicalize

Rewrite = Callable[..., Any]

_CONSTANTS = (
    "float[1] three = {3.0}, float zero = {0.0}, float six = {6.0}, float one = {1.0}, "
    "float sixth = {0.16666667}, float half = {0.5}, float root = {1.4142135}, "
    "float inv = {0.70710677}, float k = {0.7978845608}, float c = {0.044715}, "
    "float cube = {3.0}, float two = {2.0}, float eps = {0.00001}, float five = {5.0}"
)


def _graph(body: str, extra: str = "") -> str:
    return f"g (float[2,8] x) => (float[2,8] y) <{_CONSTANTS}{extra}> {{{body}}}"


HARD_SWISH = [
    "a = Add(x, three) b = Clip(a, zero, six) m = Mul(x, b) y = Div(m, six)",
    "a = Add(three, x) b = Clip(a, zero, six) m = Mul(b, x) y = Mul(sixth, m)",
    "a = Add(x, three) b = Clip(a, zero, six) d = Div(b, six) y = Mul(x, d)",
    "a = Add(x, three) r = Relu(a) b = Min(r, six) d = Mul(x, sixth) y = Mul(d, b)",
    "a = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(a, x)",
]


@pytest.mark.parametrize("body", HARD_SWISH)
def test_hard_swish(body: str, rewrite: Rewrite) -> None:
    assert rewrite(_graph(body), Canonicalize()).ops == ("HardSwish",)


@pytest.mark.parametrize(
    "body",
    [
        "a = Add(x, three) b = Clip(a, zero, six) m = Mul(x, b) y = Div(m, five)",
        "a = Add(x, two) b = Clip(a, zero, six) m = Mul(x, b) y = Div(m, six)",
        "a = HardSigmoid(x) y = Mul(a, x)",
    ],
)
def test_near_misses_of_hard_swish(body: str, rewrite: Rewrite) -> None:
    assert "HardSwish" not in rewrite(_graph(body), Canonicalize()).ops


def test_a_gate_with_another_reader_stays(rewrite: Rewrite) -> None:
    text = f"""g (float[2,8] x) => (float[2,8] y, float[2,8] z) <{_CONSTANTS}> {{
        a = Add(x, three) b = Clip(a, zero, six) m = Mul(x, b) y = Div(m, six) z = Abs(b) }}"""
    assert "HardSwish" not in rewrite(text, Canonicalize()).ops


@pytest.mark.parametrize(
    "body",
    [
        "a = Add(x, three) b = Clip(a, zero, six) y = Div(b, six)",
        "m = Mul(x, sixth) a = Add(m, half) y = Clip(a, zero, one)",
    ],
)
def test_hard_sigmoid(body: str, rewrite: Rewrite) -> None:
    assert rewrite(_graph(body), Canonicalize()).ops == ("HardSigmoid",)


def test_a_clip_to_one_alone_is_no_hard_sigmoid(rewrite: Rewrite) -> None:
    assert rewrite(_graph("y = Clip(x, zero, one)"), Canonicalize()).ops == ("Clip",)


ERF = [
    "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)",
    "d = Mul(x, inv) e = Erf(d) a = Add(one, e) h = Mul(half, x) y = Mul(h, a)",
]
TANH = [
    (
        "p = Pow(x, cube) q = Mul(c, p) s = Add(x, q) u = Mul(k, s) t = Tanh(u) a = Add(t, one)"
        " m = Mul(x, a) y = Mul(half, m)"
    ),
    (
        "b = Mul(x, x) p = Mul(b, x) q = Mul(p, c) s = Add(q, x) u = Mul(s, k) t = Tanh(u)"
        " a = Add(one, t) h = Mul(half, a) y = Mul(h, x)"
    ),
    (
        "b = Mul(c, x) p = Mul(b, x) q = Add(one, p) s = Mul(x, k) u = Mul(s, q) t = Tanh(u)"
        " a = Add(one, t) h = Mul(half, a) y = Mul(h, x)"
    ),
]


@pytest.mark.parametrize("body", ERF + TANH)
def test_gelu(body: str, rewrite: Rewrite) -> None:
    found = rewrite(_graph(body), Canonicalize())
    assert found.ops == ("Gelu",)
    approximate = found.program.graph[0].attributes.get_string("approximate", "none")
    assert approximate == ("tanh" if body in TANH else "none")


def test_near_miss_of_gelu(rewrite: Rewrite) -> None:
    body = "d = Mul(x, half) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)"
    assert "Gelu" not in rewrite(_graph(body), Canonicalize()).ops


_VECTORS = ", float[8] w, float[8] b, int64[1] last = {-1}"
_CENTRE = "m = ReduceMean(x, last) d = Sub(x, m) "
_ROOT = "v = ReduceMean(s, last) e = Add(v, eps) r = Sqrt(e) "


@pytest.mark.parametrize(
    "body",
    [
        _CENTRE + "s = Pow(d, two) " + _ROOT + "n = Div(d, r) g = Mul(n, w) y = Add(g, b)",
        _CENTRE + "s = Mul(d, d) " + _ROOT + "n = Div(d, r) g = Mul(w, n) y = Add(b, g)",
        _CENTRE + "s = Mul(d, d) " + _ROOT + "i = Reciprocal(r) n = Mul(d, i) g = Mul(n, w) "
        "y = Add(g, b)",
        _CENTRE + "s = Mul(d, d) " + _ROOT + "y = Div(d, r)",
    ],
)
def test_layer_norm(body: str, rewrite: Rewrite) -> None:
    assert rewrite(_graph(body, _VECTORS), Canonicalize()).ops == ("LayerNormalization",)


def test_near_miss_of_layer_norm_over_another_axis(rewrite: Rewrite) -> None:
    extra = _VECTORS + ", int64[1] first = {0}"
    body = (
        _CENTRE + "s = Mul(d, d) v = ReduceMean(s, first) e = Add(v, eps) r = Sqrt(e) y = Div(d, r)"
    )
    assert "LayerNormalization" not in rewrite(_graph(body, extra), Canonicalize()).ops


@pytest.mark.parametrize(
    ("keep", "ops"), [(1, ["GlobalAveragePool"]), (0, ["GlobalAveragePool", "Flatten"])]
)
def test_mean_over_space(keep: int, ops: list[str], rewrite: Rewrite) -> None:
    text = f"""g (float[N,3,5,7] x) => (float y) <int64[2] axes = {{-1,2}}> {{
        y = ReduceMean<keepdims = {keep}>(x, axes) }}"""
    assert list(rewrite(text, Canonicalize()).ops) == ops


def test_mean_over_one_axis_or_a_sequence_stays(rewrite: Rewrite) -> None:
    text = "g (float[N,3,8] x) => (float y) <int64[1] a = {-1}> { y = ReduceMean(x, a) }"
    assert rewrite(text, Canonicalize()).ops == ("ReduceMean",)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("int64", "h = Mul(x, five) a = Add(h, five) y = Clip(a, zero, one)"),
        ("double", "h = Mul(x, half) a = Add(h, half) y = Clip(a, zero, one)"),
        ("int32", "y = ReduceMean(x, axes)"),
        ("double", "y = ReduceMean(x, axes)"),
    ],
)
def test_what_has_no_kernel_in_the_type_is_not_written(
    kind: str, body: str, rewrite: Rewrite
) -> None:
    """Neither op is defined on integers, and ONNX Runtime has neither in double."""
    numbers = {"zero": "0", "one": "1", "five": "5", "half": "0.5"}
    used = [f"{kind} {name} = {{{number}}}" for name, number in numbers.items() if name in body]
    constants = ", ".join([*used, "int64[2] axes = {2,3}"])
    text = f"g ({kind}[2,3,4,5] x) => ({kind}[2,3,d,e] y) <{constants}> {{ {body} }}"
    ops = rewrite(text, Canonicalize()).ops
    assert not {"HardSigmoid", "GlobalAveragePool"} & set(ops)


def test_sum_divided_by_the_count_is_a_mean(rewrite: Rewrite) -> None:
    text = """g (float[N,3,8] x) => (float y) <int64[1] a = {-1}, float n = {0.125}> {
        s = ReduceSum(x, a) y = Mul(s, n) }"""
    assert rewrite(text, Canonicalize()).ops == ("ReduceMean",)
