"""Constraints that hold for every target."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.compile import compile as compile_model
from qcompiler.ir.text import from_text


@pytest.mark.parametrize(
    ("inner", "columns", "barred"), [(0, 4, True), (3, 0, True), (3, 4, False)]
)
def test_products_without_elements_stay_float(inner: int, columns: int, barred: bool) -> None:
    """K = 0 gives zeros, which a dynamic kernel of ONNX Runtime 1.31 leaves unwritten."""
    text = f"""g (float[2,{inner}] x) => (float[2,{columns}] y)
    <float[{inner},{columns}] w> {{ [mm] y = MatMul(x, w) }}"""
    program = from_text(text, {"w": np.ones((inner, columns), np.float32)})
    (region,) = OnnxRuntime().regions(program)
    assert bool(OnnxRuntime().objections(region)) == barred
    compiled = compile_model(program, "onnxruntime", scheme="dynamic", recipe="fast")
    (found,) = compiled.run({"x": np.ones((2, inner), np.float32)})
    assert found.shape == (2, columns)
    assert np.allclose(found, inner)
