"""Products of one value as one product, and what must not be joined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qcompiler.passes.latency.merge_products import MergeProducts

Rewrite = Callable[..., Any]
STORED = {
    "p": np.random.default_rng(1).standard_normal((8, 4)).astype(np.float32),
    "q": np.random.default_rng(2).standard_normal((8, 3)).astype(np.float32),
    "t": np.random.default_rng(3).standard_normal((3, 8)).astype(np.float32),
    "b": np.arange(4, dtype=np.float32),
}


def text(body: str, outputs: str = "float[2,4] u, float[2,3] v") -> str:
    declared = ", ".join(f"float[{','.join(map(str, v.shape))}] {n}" for n, v in STORED.items())
    return f"g (float[2,8] x) => ({outputs}) <{declared}> {{ {body} }}"


def test_three_products_of_one_value(rewrite: Rewrite) -> None:
    body = "u = MatMul(x, p) m = MatMul(x, q) v = Abs(m)"
    found = rewrite(text(body), MergeProducts(), weights=STORED)
    assert found.ops == ("MatMul", "Slice", "Slice", "Abs")
    assert found.reports[0].details == {"merged": 2}


def test_gemm_of_either_orientation_with_and_without_bias(rewrite: Rewrite) -> None:
    body = "u = Gemm(x, p, b) v = Gemm<transB = 1>(x, t)"
    found = rewrite(text(body), MergeProducts(), weights=STORED)
    assert found.ops == ("Gemm", "Slice", "Slice")


@pytest.mark.parametrize(
    "body",
    [
        "u = MatMul(x, p) a = Abs(x) v = MatMul(a, q)",  # two values
        "u = MatMul(x, p) v = Gemm(x, q)",  # two operators
        "u = Gemm<alpha = 2.0>(x, p) v = Gemm(x, q)",
        "u = MatMul(x, p) m = MatMul(x, p) v = Slice(m, z, e, o)",  # one matrix
    ],
)
def test_what_is_not_joined(body: str, rewrite: Rewrite) -> None:
    extra = ", int64[1] z = {0}, int64[1] e = {3}, int64[1] o = {1}>"
    found = rewrite(text(body).replace("> {", extra + " {"), MergeProducts(), weights=STORED)
    assert found.reports[0].details == {"merged": 0}


def test_products_of_a_batch_keep_their_axes(rewrite: Rewrite) -> None:
    body = "u = MatMul(x, p) v = MatMul(x, q)"
    batch = text(body, "float[2,5,4] u, float[2,5,3] v").replace("float[2,8] x", "float[2,5,8] x")
    assert rewrite(batch, MergeProducts(), weights=STORED).ops == ("MatMul", "Slice", "Slice")
