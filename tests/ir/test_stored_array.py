"""Constants behind Transpose, QuantizeLinear and DequantizeLinear, against onnx.reference."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.ir.masks import masked_values
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import stored_array
from tests.oracle import in_float

CASES = [
    ("int8[4,6] w, float s = {0.5}", "d = DequantizeLinear(w, s)"),
    ("int8[4,6] w, float[6] s, int8[6] z", "d = DequantizeLinear<axis = 1>(w, s, z)"),
    ("int8[4,6] w, float[4] s", "d = DequantizeLinear<axis = 0>(w, s)"),
    ("int8[4,6] w, float[2,6] s", "d = DequantizeLinear<axis = 0, block_size = 2>(w, s)"),
    ("int8[6,4] w, float[6] s",
     "t = DequantizeLinear<axis = 0>(w, s) d = Transpose<perm = [1,0]>(t)"),
    ("float[4,6] w, float s = {0.25}, int8 z = {3}",
     "q = QuantizeLinear(w, s, z) d = DequantizeLinear(q, s, z)"),
]  # fmt: skip


@pytest.mark.parametrize(("constants", "body"), CASES)
def test_what_stands_behind_q_and_dq(constants: str, body: str) -> None:
    program = from_text(
        f"g (float[4,6] x) => (float[4,6] y) <{constants}> {{ {body} y = Add(x, d) }}"
    )
    value = next(node for node in program.graph if node.op_type == "Add").inputs[1]
    found = stored_array(value)
    assert found is not None
    (wanted,) = in_float(program, {"x": np.zeros((4, 6), np.float32)})
    np.testing.assert_array_equal(found, wanted)


def test_a_computed_scale_is_no_constant() -> None:
    program = from_text(
        "g (float s) => (float[4,6] y) <int8[4,6] w> { y = DequantizeLinear(w, s) }"
    )
    assert stored_array(program.graph.outputs[0]) is None


@pytest.mark.parametrize(("low", "is_mask"), [(-3.0, False), (-60.0, False), (-1e4, True)])
def test_a_bias_in_front_of_softmax_is_no_mask(low: float, is_mask: bool) -> None:
    body = "a = MatMul(x, w) s = Add(a, m) y = Softmax(s)"
    numbers = ", ".join(map(str, (low, 0.0, 0.5, 1.0)))
    head = f"g (float[N,4] x) => (float[N,4] y) <float[4,4] w, float[4] m = {{{numbers}}}>"
    program = from_text(f"{head} {{ {body} }}")
    assert bool(masked_values(program)) == is_mask
