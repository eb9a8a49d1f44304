"""Which values are masks or hold one: every way that a mask is written in front of a Softmax."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.ir.masks import masked_values
from qcompiler.ir.text import from_text

FRAME = """g (float[2,4,8] x, float[2,1,4] m, bool[2,1,4] keep) => (float[2,4,8] y)
    <float[8,8] u, float[8,8] v> {{
    one = Constant<value=float {{1.0}}>()
    big = Constant<value=float {{{big}}}>()
    root = Constant<value=float {{2.8}}>()
    zero = Constant<value=float {{0.0}}>()
    q = MatMul(x, u) k0 = MatMul(x, v) k = Transpose<perm=[0,2,1]>(k0)
    a = MatMul(q, k)
    {mask}
    {softmax}
    y = MatMul(p, x) }}"""
SOFTMAX = "p = Softmax<axis=-1>(s)"
LOWEST = float(np.finfo(np.float32).min)
SPELLINGS = {
    "added": "o = Sub(one, m) b = Mul(o, big) s = Add(a, b)",
    "in front": "o = Sub(one, m) b = Mul(o, big) s = Add(b, a)",
    "subtracted": "o = Sub(one, m) n = Neg(big) b = Mul(o, n) s = Sub(a, b)",
    "chosen": "s = Where(keep, a, big)",
    "chosen values": "b = Where(keep, zero, big) s = Add(a, b)",
    "scaled before": "c = Div(a, root) o = Sub(one, m) b = Mul(o, big) s = Add(c, b)",
    "scaled after": "o = Sub(one, m) b = Mul(o, big) c = Add(a, b) s = Div(c, root)",
    "multiplied after": "o = Sub(one, m) b = Mul(o, big) c = Add(a, b) s = Mul(root, c)",
    "clamped": "o = Sub(one, m) b = Mul(o, big) c = Add(a, b) s = Max(c, big)",
    "clipped": "o = Sub(one, m) b = Mul(o, big) c = Add(a, b) s = Clip(c, big)",
    "from the maximum": (
        "o = Sub(one, m) b = Mul(o, big) c = Add(a, b) "
        "top = ReduceMax<keepdims=1>(c, axis) s = Sub(c, top)"
    ),
    "of two masks": (
        "t = Transpose<perm=[0,2,1]>(m) both = MatMul(t, m) "
        "o = Sub(one, both) b = Mul(o, big) s = Add(a, b)"
    ),
    "of a product's sizes": (
        "dims = Shape<start=2>(a) zeros = Expand(zero, dims) seen = Cast<to=9>(zeros) "
        "b = Where(seen, zero, big) s = Add(a, b)"
    ),
    "twice": (
        "b = Where(keep, zero, big) c = Add(a, b) o = Sub(one, m) e = Mul(o, big) s = Add(c, e)"
    ),
    "moved after": (
        "o = Sub(one, m) b = Mul(o, big) c = Add(a, b) d = Unsqueeze(c, axis1) "
        "s = Squeeze(d, axis1)"
    ),
}
APART = (
    "peak = ReduceMax<keepdims=1>(s, axis) low = Sub(s, peak) ex = Exp(low) "
    "sum = ReduceSum<keepdims=1>(ex, axis) p = Div(ex, sum)"
)


def masked(mask: str, big: float, softmax: str = SOFTMAX) -> set[str]:
    text = FRAME.format(mask=mask, big=f"{big:.9g}", softmax=softmax)
    text = text.replace("float[8,8] v>", "float[8,8] v, int64[1] axis, int64[1] axis1>")
    stored: dict[str, np.ndarray] = {
        "u": np.eye(8, dtype=np.float32),
        "v": np.eye(8, dtype=np.float32),
        "axis": np.asarray([-1], np.int64),
        "axis1": np.asarray([1], np.int64),
    }
    return {value.name or "" for value in masked_values(from_text(text, stored))}


@pytest.mark.parametrize("big", [-1e4, -1e9, LOWEST])
@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("softmax", [SOFTMAX, APART], ids=["softmax", "apart"])
def test_scores_with_a_mask_are_named(name: str, big: float, softmax: str) -> None:
    found = masked(SPELLINGS[name], big, softmax)
    assert "s" in found
    assert {"a", "q", "k", "x"}.isdisjoint(found)
    if " c = Add" in SPELLINGS[name]:
        assert "c" in found
    if " b = Mul" in SPELLINGS[name]:
        assert "b" in found


def test_a_bias_and_a_second_product_are_no_masks() -> None:
    assert masked("s = Add(a, root)", -1.0) == set()
    second = "b = MatMul(k0, u) c = ReduceSum<keepdims=1>(b, axis) s = Add(a, c)"
    assert masked(second, -1e9) == set()
    assert masked("s = Div(a, root)", -1e9) == set()


def test_without_a_softmax_there_is_no_mask() -> None:
    assert masked(SPELLINGS["added"], -1e9, "p = Relu(s)") == set()


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin", "ReduceLogSumExp"])
def test_a_mask_in_front_of_an_extreme_is_seen_by_its_size(op: str) -> None:
    pooled = f"p = {op}<keepdims=0>(s, axis)"
    assert {"s", "b"} <= masked(SPELLINGS["added"], -1e9, pooled)
    assert masked("s = Add(a, m)", -1e9, pooled) == set()  # a sum of two signals
