"""Which values are told by their share: what is under roots, logarithms and divisors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.frontends.inference import infer_types
from qcompiler.ir.relative import Relative, relative_values
from qcompiler.ir.text import from_text

FRAME = """g (float[2,4,8] a, float[2,4,8] b) => (float[2,4,8] y)
    <float[8] gain, int64[1] axis, int64[1] pair, float[8,4] bands, float[8,4] signs> {{
    eps = Constant<value=float {{1e-5}}>()
    one = Constant<value=float {{1.0}}>()
    two = Constant<value=float {{2.0}}>()
    half = Constant<value=float {{-0.5}}>()
    {body} }}"""

CASES = {
    "root of two squares": (
        "p = Mul(a, a) q = Pow(b, two) s = Add(p, q) y = Sqrt(s)",
        {"p", "q", "s"},
    ),
    "logarithm of a mean": (
        "p = Abs(a) m = ReduceMean<keepdims=1>(p, axis) e = Add(m, eps) l = Log(e) y = Add(b, l)",
        {"p", "m", "e"},
    ),
    "divisor": ("e = Sigmoid(b) s = ReduceSum<keepdims=1>(e, axis) y = Div(a, s)", {"e", "s"}),
    "constant divisor": ("s = Add(a, b) y = Div(s, two)", set()),
    "power below one": ("s = Add(a, b) y = Pow(s, half)", {"a", "b", "s", "y"}),
    "power above one": ("s = Add(a, b) y = Pow(s, two)", set()),
    "deviation": (
        (
            "m = ReduceMean<keepdims=1>(a, axis) c = Sub(a, m) q = Mul(c, c) "
            "v = ReduceMean<keepdims=1>(q, axis) e = Add(v, eps) d = Sqrt(e) y = Div(c, d)"
        ),
        {"q", "v", "e", "d"},
    ),
    "difference of means": (
        (
            "q = Mul(a, a) v = ReduceMean<keepdims=1>(q, axis) m = ReduceMean<keepdims=1>(a, axis) "
            "n = Mul(m, m) w = Sub(v, n) r = Relu(w) e = Add(r, eps) d = Sqrt(e) i = Reciprocal(d) "
            "g = Mul(i, gain) c = Sub(a, m) y = Mul(c, g)"
        ),
        {"q", "v", "m", "n", "w", "r", "e", "d", "i", "g", "c"},
    ),
    "logarithm of a magnitude": (
        "p = Mul(a, a) q = Pow(b, two) s = Add(p, q) r = Sqrt(s) y = Log(r)",
        {"a", "b", "p", "q", "s", "r"},
    ),
    "logarithm of a complex magnitude": (
        "p = Mul(a, a) v = ReduceSum(p, pair) r = Sqrt(v) y = Log(r)",
        {"a", "p", "v", "r"},
    ),
    "logarithm of a sum of many squares": (
        "p = Mul(a, a) v = ReduceSum(p, axis) y = Log(v)",
        {"p", "v"},
    ),
    "logarithm of bands of a power": (
        "p = Mul(a, a) m = MatMul(p, bands) c = Clip(m, eps) y = Log(c)",
        {"a", "p", "m", "c"},
    ),
    "logarithm of a product of signs": ("m = MatMul(a, signs) c = Abs(m) y = Log(c)", {"m", "c"}),
    "probabilities": ("s = Sigmoid(a) y = Transpose(s)", {"s", "y"}),
    "joined probabilities": ("s = Sigmoid(a) y = Concat<axis=0>(s, b)", set()),
    "probabilities on which something rests": ("s = Softmax(a) y = Mul(s, b)", set()),
    "gate": ("s = Sigmoid(a) y = Mul(s, b)", set()),
}


@pytest.mark.parametrize("case", CASES)
def test_marked_are_the_values_whose_small_ones_count(case: str) -> None:
    body, wanted = CASES[case]
    bands = np.eye(8, 4, dtype=np.float32)
    stored: dict[str, npt.NDArray[Any]] = {
        "gain": np.ones(8, np.float32),
        "axis": np.array([2], np.int64),
        "pair": np.array([0], np.int64),
        "bands": bands,
        "signs": -bands,
    }
    program = from_text(FRAME.format(body=body), stored)
    infer_types(program.model)
    assert set(relative_values(program)) == wanted


def test_the_reason_names_the_function() -> None:
    program = from_text("g (float[4] a) => (float[4] y) { s = Abs(a) [log] y = Log(s) }")
    why = Relative("Log 'log' wants a share of it, not a step", 0.0)
    assert relative_values(program) == {"s": why, "a": why}
    assert why.is_lost_in_steps
