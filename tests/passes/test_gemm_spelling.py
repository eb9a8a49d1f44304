"""Biases and factors of Gemm in the spelling that kernels know; onnx.reference is the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.ir.text import from_text
from qcompiler.ir.walk import all_nodes
from qcompiler.passes.canonicalize import Canonicalize
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from tests.oracle import in_float, normal_feed

CASES = {
    "float[6] b": ("Gemm(x, w, b)", ["Gemm"]),
    "float[1] b": ("Gemm(x, w, b)", ["Gemm"]),
    "float[1,1] b": ("Gemm(x, w, b)", ["Gemm"]),
    "float[1,6] b": ("Gemm(x, w, b)", ["Gemm"]),
    "float b = {0.5}": ("Gemm(x, w, b)", ["Gemm"]),
    "float[5,1] b": ("Gemm(x, w, b)", ["Gemm", "Add"]),
    "float[5,6] b": ("Gemm(x, w, b)", ["Gemm", "Add"]),
    "float[6] b, float z": ("Gemm<transB = 1>(x, x, z)", ["Transpose", "MatMul", "Add"]),
    "float[1] b, float z": ("Gemm<transA = 1>(x, x)", ["Transpose", "MatMul"]),
}


@pytest.mark.parametrize(("bias", "case"), CASES.items())
def test_gemm_keeps_its_value(bias: str, case: tuple[str, list[str]]) -> None:
    call, ops = case
    text = f"g (float[5,4] x) => (float[] y) <float[4,6] w, {bias}> {{ [it] y = {call} }}"
    program = from_text(text)
    feed = normal_feed(1, x=(5, 4))
    (wanted,) = in_float(program, feed)
    Pipeline((Canonicalize(),)).run(program, PassContext(None))
    found = [node.op_type for node in all_nodes(program.model)]
    assert sorted(found) == sorted(ops)
    # A product of 5 terms and a sum: a few roundings of the largest value.
    np.testing.assert_allclose(in_float(program, feed)[0], wanted, rtol=1e-5, atol=1e-6)
    for node in all_nodes(program.model):
        if node.op_type == "Gemm" and len(node.inputs) > 2:
            assert node.inputs[2] is not None
            assert list(node.inputs[2].shape or ()) == [6]


@pytest.mark.parametrize("shape", ["1,6", "1,1,6", "1,1,1,1", "2,1,6"])
@pytest.mark.parametrize("call", ["Add(p, b)", "Add(b, p)", "Sub(p, b)", "Sub(b, p)"])
def test_a_product_keeps_its_axes_where_more_are_added(shape: str, call: str) -> None:
    """A row of more axes is one of fewer, with Unsqueeze behind; several rows are none."""
    text = f"""g (float[n,4] x) => (float[] y) <float[4,6] w, float[{shape}] b> {{
      p = MatMul(x, w)  y = {call} }}"""
    program = from_text(text)
    feed = normal_feed(1, x=(5, 4))
    (wanted,) = in_float(program, feed)
    Pipeline((Canonicalize(),)).run(program, PassContext(None))
    (found,) = in_float(program, feed)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    lifted = any(node.op_type == "Unsqueeze" for node in all_nodes(program.model))
    assert lifted is (shape in ("1,1,6", "1,1,1,1"))
