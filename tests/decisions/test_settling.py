"""Results that nothing reads in integers are not rounded; what saturates for nothing is."""

from __future__ import annotations

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.decisions.options import Options
from qcompiler.decisions.settling import settle
from qcompiler.ir.text import from_text
from qcompiler.pipeline.registry import find_target

WEIGHTS = "float[8,8] w, float[8,8] u, float[8] b"
BODIES = {
    "an output": ("y = MatMul(x, w)", "int8"),
    "an output moved": ("m = MatMul(x, w) y = Transpose(m)", "int8"),
    "a function in float": ("m = MatMul(x, w) y = Erf(m)", "int8-float-out"),
    "a product": ("m = MatMul(x, w) y = MatMul(m, u)", "int8"),
    "a product behind a mover": ("m = MatMul(x, w) t = Transpose(m) y = MatMul(t, u)", "int8"),
    "a product behind a clamp": ("m = MatMul(x, w) r = Relu(m) y = MatMul(r, u)", "int8"),
    "a product behind two": (
        "m = MatMul(x, w) r = Relu(m) t = Transpose(r) y = MatMul(t, u)",
        "int8",
    ),
    "a clamp in front of float": ("m = MatMul(x, w) r = Relu(m) y = Erf(r)", "int8"),
    "a product and an output": ("y = MatMul(x, w) z = MatMul(y, u)", "int8"),
    "Gemm in front of float": ("m = Gemm(x, w, b) y = Erf(m)", "int8-float-out"),
    "float behind a mover": ("m = MatMul(x, w) t = Transpose(m) y = Erf(t)", "int8-float-out"),
    "Gemm whose Relu saturates": ("m = Gemm(x, w, b) r = Relu(m) y = Erf(r)", "int8"),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_result_is_rounded_where_integers_are_read(body: str) -> None:
    steps, wanted = BODIES[body]
    draw = np.random.default_rng(0)
    stored = {"w": draw.normal(size=(8, 8)), "u": draw.normal(size=(8, 8)), "b": np.ones(8)}
    named = "[first] " + steps
    outputs = "float[8,8] y" + (", float[8,8] z" if "z =" in steps else "")
    program = from_text(
        f"g (float[8,8] x) => ({outputs}) <{WEIGHTS}> {{ {named} }}",
        {name: array.astype(np.float32) for name, array in stored.items()},
    )
    feeds = [{"x": draw.normal(size=(8, 8)).astype(np.float32)} for _ in range(4)]
    made = qc.compile(program, "onnxruntime", feeds, scheme="int8", recipe="fast")
    assert made.plan.precision("first") == wanted
    assert "first" in made.kernels.integer
    pinned = qc.compile(
        program,
        "onnxruntime",
        feeds,
        scheme="int8",
        recipe="fast",
        overrides={"first": "int8"},
    )
    assert pinned.plan.precision("first") == "int8"


def test_a_value_whose_range_the_user_gave_is_rounded() -> None:
    draw = np.random.default_rng(0)
    stored = {"w": draw.normal(size=(8, 8)).astype(np.float32)}
    text = (
        "g (float[8,8] x) => (float[8,8] y) <float[8,8] w> { [first] m = MatMul(x, w) y = Erf(m) }"
    )
    feeds = [{"x": draw.normal(size=(8, 8)).astype(np.float32)} for _ in range(4)]
    made = qc.compile(
        from_text(text, stored),
        "onnxruntime",
        feeds,
        scheme="int8",
        recipe="fast",
        ranges={"m": (-2.0, 2.0)},
    )
    assert made.plan.precision("first") == "int8"


@pytest.mark.parametrize(
    ("end", "wanted"), [("Erf(m900)", "int8-float-out"), ("MatMul(m900, w)", "int8")]
)
def test_movers_may_be_many(end: str, wanted: str) -> None:
    """Each reads the one before twice: there are 2^900 ways to the end, each 900 steps long."""
    moved = " ".join(f"m{i + 1} = Concat<axis=0>(m{i}, m{i})" for i in range(900))
    steps = f"[first] m0 = MatMul(x, w) {moved} y = {end}"
    program = from_text(
        f"g (float[8,8] x) => (float[a,8] y) <float[8,8] w> {{ {steps} }}",
        {"w": np.eye(8, dtype=np.float32)},
    )
    target = find_target("onnxruntime")()
    options = [Options(each, target.implementations(each)) for each in target.regions(program)]
    choices = {each.region.key: each.chosen("int8", "asked") for each in options}
    settle(options, choices)
    assert choices["first"].precision == wanted
