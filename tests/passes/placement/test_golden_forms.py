"""Golden tests of placements beside static Q/DQ: blocks, dynamic LSTMs, what engines ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.program import Property
from qcompiler.ir.text import from_text
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline

Place = Callable[..., Any]

POOLED = """g (float[1,1,2,2] x) => (float[1,1,2,2] y, float[1,1,2,2] z)
{ [one] r = Relu(x) [pool] p = MaxPool<kernel_shape = [1,1]>(r) y = Neg(p) z = Neg(r) }"""
POOL_RANGES = {"r": (0.0, 2.55), "p": (0.0, 2.55)}
PLACED = "assign-precision,resolve-placement,insert-qdq,fold-qdq"


def test_float_movers_puts_the_pool_behind_dequantize(place: Place) -> None:
    folded = place(POOLED, PLACED, POOL_RANGES, {"pool": "int8"})
    assert folded.lines[1:4] == (
        "r_quantized = QuantizeLinear (r, scale, zero_point)",
        "p = MaxPool <kernel_shape: ints = [1, 1]> (r_quantized)",
        "p_dequantized = DequantizeLinear (p, scale, zero_point)",
    )
    found = place(POOLED, f"{PLACED},float-movers", POOL_RANGES, {"pool": "int8"})
    assert found.lines[1:4] == (
        "r_quantized = QuantizeLinear (r, scale, zero_point)",
        "r_quantized_dequantized = DequantizeLinear (r_quantized, scale, zero_point)",
        "p = MaxPool <kernel_shape: ints = [1, 1]> (r_quantized_dequantized)",
    )
    assert found.reports["float-movers"].details == {"moved": 1}


def test_share_dequantized_gives_every_reader_the_same_value(place: Place) -> None:
    passes = f"{PLACED},float-movers"
    before = place(POOLED, passes, POOL_RANGES, {"pool": "int8"})
    assert before.lines[-1] == "z = Neg (r)"
    found = place(POOLED, f"{passes},share-dequantized", POOL_RANGES, {"pool": "int8"})
    assert found.lines[-1] == "z = Neg (r_quantized_dequantized)"
    assert found.lines[:-1] == before.lines[:-1]
    assert found.reports["share-dequantized"].details == {"redirected": 1}


def test_quantize_weight_blocks_scales_blocks_of_the_reduction_axis(place: Place) -> None:
    """Blocks of 32 along K = 64; maxima 7 and 14 have the int4 steps 1 and 2."""
    weight = np.zeros((64, 2), np.float32)
    weight[0, 0], weight[1, 0], weight[32, 0] = 7.0, -3.0, 14.0
    weight[:, 1] = -weight[:, 0]
    found = place(
        "g (float[2,64] x) => (float[2,2] y) <float[64,2] w> { [mm] y = MatMul(x, w) }",
        "assign-precision,resolve-placement,quantize-weight-blocks",
        {},
        {"mm": "int4-weights"},
        {"w": weight},
    )
    layout = "<axis: int = 0, block_size: int = 32>"
    assert found.lines == (
        f"w_dequantized = DequantizeLinear {layout} (w_quantized, w_scale)",
        "y = MatMul (x, w_dequantized)",
    )
    # The second column's largest elements are negative: they become -8.
    np.testing.assert_allclose(found.array("w_scale"), [[1, 7 / 8], [2, 14 / 8]])
    np.testing.assert_array_equal(found.array("w_quantized")[[0, 1, 32], 0].astype(int), [7, -3, 7])


def test_quantize_weight_blocks_stores_one_weight_once_in_every_graph(place: Place) -> None:
    """ONNX Runtime finds the integers only in the product's own graph."""
    found = place(
        """g (bool c, float[2,32] x) => (float[2,32] y) <float[32,32] w>
        { [a] u = MatMul(x, w) [b] v = MatMul(u, w)
          y = If(c) <
            then_branch = yes () => (float[2,32] t) { [t] t = MatMul(v, w) },
            else_branch = no () => (float[2,32] e) { e = Neg(v) } > }""",
        "assign-precision,resolve-placement,quantize-weight-blocks",
        {},
        {"a": "int8-weights", "b": "int8-weights", "t": "int8-weights"},
    )
    assert found.reports["quantize-weight-blocks"].details == {"weights": 2}
    assert set(found.program.graph.initializers) == {"w_quantized", "w_scale"}
    assert sum("DequantizeLinear" in line for line in found.lines) == 3


def test_insert_dynamic_lstm_lays_the_weights_out_for_the_kernel(place: Place) -> None:
    """[1, 4H, I] becomes [1, I, 4H] with one scale per gate row: row i holds only i + 1."""
    weight = np.tile(np.arange(1.0, 5.0, dtype=np.float32)[None, :, None], (1, 1, 2))
    found = place(
        """g (float[3,1,2] x) => (float[3,1,1,1] y)
        <float[1,4,2] w, float[1,4,1] r = {1.0, 2.0, 0.5, 4.0}>
        { [cell] y = LSTM<hidden_size = 1>(x, w, r) }""",
        "assign-precision,resolve-placement,insert-dynamic-lstm",
        {},
        {"cell": "int8-dynamic"},
        {"w": weight},
    )
    (line,) = found.lines
    assert line.startswith("y = com.microsoft.DynamicQuantizeLSTM <hidden_size: int = 1> ")
    assert line.endswith("w_scale, w_zero_point, r_scale, r_zero_point)")
    assert found.array("w_quantized").shape == (1, 2, 4)
    np.testing.assert_array_equal(found.array("w_quantized"), np.full((1, 2, 4), 127))
    np.testing.assert_allclose(found.array("w_scale"), [np.arange(1, 5) / 127], rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "written"), [("Add(x, z)", "y_in_sum = Sum (x, z)"), ("Mul(x, z)", None)]
)
def test_avoid_skip_layer_norm_spells_the_add_as_a_sum(
    op: str, written: str | None, place: Place
) -> None:
    text = f"""g (float[2,4] x, float[2,4] z) => (float[2,4] y)
    <float[4] s = {{1.0, 1.0, 1.0, 1.0}}>
    {{ y_in = {op} y = LayerNormalization<axis = -1>(y_in, s) }}"""
    found = place(text, "avoid-skip-layer-norm")
    assert found.reports["avoid-skip-layer-norm"].details == {"sums": 1 if written else 0}
    assert found.lines[0] == (written or "y_in = Mul (x, z)")


def test_a_dynamic_gemm_keeps_trans_a(place: Place) -> None:
    """MatMulInteger does not know it: the activations are turned."""
    found = place(
        """g (float[2,3] x) => (float[3,4] y)
        <float[2,4] w, float[4] c = {1, 2, 3, 4}>
        { [mm] y = Gemm<transA = 1>(x, w, c) }""",
        "assign-precision,resolve-placement,insert-dynamic-quantization",
        {},
        {"mm": "int8-dynamic"},
        {"w": np.ones((2, 4), np.float32)},
    )
    assert found.lines[0] == "x_turned = Transpose <perm: ints = [1, 0]> (x)"
    assert "DynamicQuantizeLinear (x_turned)" in found.lines[1]
    assert found.lines[-1] == "y = Add (y_product, c)"


@pytest.mark.parametrize(
    ("mover", "kind", "moved"),
    [
        ("Concat<axis = 0>(d, d)", "float8e4m3fn", False),
        ("Concat<axis = 0>(d, d)", "int4", False),
        ("Concat<axis = 0>(d, d)", "int8", True),
        ("Transpose<perm = [1,0]>(d)", "float8e4m3fn", True),
        ("Transpose<perm = [1,0]>(d)", "int4", True),
    ],
)
def test_fold_qdq_moves_the_types_that_onnx_defines_the_op_on(
    mover: str, kind: str, moved: bool
) -> None:
    """Oracle: ONNX's checker with types inferred."""
    rows = 8 if "Concat" in mover else 4
    text = f"""g (float[4,4] x) => (float[{rows},4] y) <float s = {{0.5}}, {kind} z = {{0}}> {{
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        [it] m = {mover} r = QuantizeLinear(m, s, z) y = DequantizeLinear(r, s, z)
    }}"""
    program = from_text(text)
    program.properties |= {Property.QDQ_EXPLICIT}
    Pipeline.parse("fold-qdq").run(program, PassContext(OnnxRuntime(1)))
    onnx.checker.check_model(ir.to_proto(program.model), full_check=True)
    floats = [node for node in program.graph if node.op_type == "DequantizeLinear"]
    assert (len(floats) == 1) == moved
