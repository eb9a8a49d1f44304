"""Golden tests: text and plan in, passes, text out; parameters are computed by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qcompiler.errors import ConfigurationError, LegalityError

Place = Callable[..., Any]

CONV = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
<float[2,2,1,1] w = {1.0, 0.5, -0.25, 2.0}, float[2] b = {1.0, -1.0}>
{
   [cv] c = Conv(x, w, b)
   [re] r = Relu(c)
   [pool] y = MaxPool<kernel_shape = [1,1]>(r)
}"""
RANGES = {"x": (-1.0, 1.55), "c": (-3.0, 5.1), "r": (0.0, 5.1), "y": (0.0, 5.1)}
BOTH = {"cv": "int8", "pool": "int8"}
ALIGNED = "assign-precision,resolve-placement"
INSERTED = f"{ALIGNED},insert-qdq"
FOLDED = f"{INSERTED},fold-qdq"
WEIGHTS = f"{FOLDED},quantize-weights"

CONCAT = "g (float[1,2] x, float[1,2] z) => (float[1,4] y) { [jo] y = Concat<axis = 1>(x, z) }"
CONCAT_RANGES = {"x": (0.0, 1.0), "z": (0.0, 2.55), "y": (0.0, 2.55)}


def test_assign_precision_takes_what_is_legal(place: Place) -> None:
    found = place(CONV, "assign-precision", RANGES)
    choices = found.program.plan.choices
    assert {key: choice.precision for key, choice in choices.items()} == BOTH
    assert found.reports["assign-precision"].details == {"int8": 2}
    assert not found.reports["assign-precision"].modified


def test_assign_precision_without_observations_stays_float(place: Place) -> None:
    found = place(CONV, "assign-precision", {"x": (-1.0, 1.0)})
    choice = found.program.plan.choices["cv"]
    assert choice.precision == "float32"
    assert re.fullmatch(r"int8 and \d+ more: 'r' was not observed in calibration", choice.reason)


def test_assign_precision_refuses_a_plan_for_other_regions(place: Place) -> None:
    with pytest.raises(ConfigurationError, match="does not have"):
        place(CONV, "assign-precision", RANGES, {"nothing": "int8"})


def test_resolve_placement_ties_the_pool_to_the_relu(place: Place) -> None:
    """1.55 + 1 = 2.55 = 255 * 0.01; 5.1 = 255 * 0.02; the ReLU puts zero at the bottom."""
    found = place(CONV, ALIGNED, RANGES, BOTH)
    scales = {
        name: (round(float(params.scale), 6), int(params.zero_point))
        for (name, _), params in found.program.placement.values.items()
    }
    assert scales == {"x": (0.01, 100), "r": (0.02, 0), "y": (0.02, 0)}
    assert found.reports["resolve-placement"].details == {"values": 3, "groups": 2}


def test_resolve_placement_needs_observations(place: Place) -> None:
    with pytest.raises((LegalityError, ConfigurationError), match="observed"):
        place(CONV, ALIGNED, {"x": (-1.0, 1.0)}, BOTH)


def test_insert_qdq(place: Place) -> None:
    assert place(CONV, INSERTED, RANGES, BOTH).lines == (
        "x_quantized = QuantizeLinear (x, scale_1, zero_point_1)",
        "x_dequantized = DequantizeLinear (x_quantized, scale_1, zero_point_1)",
        "c = Conv (x_dequantized, w, b)",
        "r = Relu (c)",
        "r_quantized = QuantizeLinear (r, scale, zero_point)",
        "r_dequantized = DequantizeLinear (r_quantized, scale, zero_point)",
        "y_inner = MaxPool <kernel_shape: ints = [1, 1]> (r_dequantized)",
        "y_quantized = QuantizeLinear (y_inner, scale, zero_point)",
        "y = DequantizeLinear (y_quantized, scale, zero_point)",
    )


def test_insert_qdq_leaves_float_regions_alone(place: Place) -> None:
    assert place(CONV, INSERTED, RANGES, {"cv": "int8"}).lines[-1] == (
        "y = MaxPool <kernel_shape: ints = [1, 1]> (r_dequantized)"
    )


def test_fold_qdq_absorbs_the_relu_and_moves_through_the_pool(place: Place) -> None:
    found = place(CONV, FOLDED, RANGES, BOTH)
    assert found.lines == (
        "x_quantized = QuantizeLinear (x, scale_1, zero_point_1)",
        "x_dequantized = DequantizeLinear (x_quantized, scale_1, zero_point_1)",
        "c = Conv (x_dequantized, w, b)",
        "r_quantized = QuantizeLinear (c, scale, zero_point)",
        "y_inner = MaxPool <kernel_shape: ints = [1, 1]> (r_quantized)",
        "y = DequantizeLinear (y_inner, scale, zero_point)",
    )
    details = found.reports["fold-qdq"].details
    assert details == {"activations": 1, "cancelled": 0, "moved": 1, "merged": 0}


def test_quantize_weights_per_output_channel(place: Place) -> None:
    """Channel maxima 1 and 2 become 127; 63.5 goes to the even 64; -15.875 to -16."""
    found = place(CONV, WEIGHTS, RANGES, BOTH)
    assert found.lines[2:4] == (
        "w_dequantized = DequantizeLinear <axis: int = 0> (w_quantized, w_scale, w_zero_point)",
        "c = Conv (x_dequantized, w_dequantized, b)",
    )
    np.testing.assert_array_equal(found.array("w_quantized").reshape(2, 2), [[127, 64], [-16, 127]])
    np.testing.assert_allclose(found.array("w_scale"), [1 / 127, 2 / 127], rtol=1e-7)
    assert "w" not in found.program.graph.initializers  # the float copy is gone


def test_quantize_bias_in_steps_of_input_times_weight(place: Place) -> None:
    """1 / (0.01 * 1/127) = 12700 and -1 / (0.01 * 2/127) = -6350."""
    found = place(CONV, f"{WEIGHTS},quantize-bias", RANGES, BOTH)
    assert found.lines[3:5] == (
        "b_dequantized = DequantizeLinear <axis: int = 0> (b_quantized, b_scale, b_zero_point)",
        "c = Conv (x_dequantized, w_dequantized, b_dequantized)",
    )
    np.testing.assert_array_equal(found.array("b_quantized"), [12700, -6350])
    assert found.array("b_quantized").dtype == np.int32


def test_insert_dynamic_quantization_shares_the_activation(place: Place) -> None:
    text = """g (float[2,2] x) => (float[2,2] y, float[2,2] z)
    <float[2,2] w = {1.0, 0.5, -0.25, 2.0}, float[2,2] v = {1.0, 0.0, 0.5, 1.0},
     float[2] b = {1.0, -1.0}>
    { [mm] y = MatMul(x, w) [ge] z = Gemm<transB = 1>(x, v, b) }"""
    found = place(
        text, "assign-precision{scheme=int8-dynamic},resolve-placement,insert-dynamic-quantization"
    )
    assert found.lines == (
        "x_u8, x_scale, x_zero_point = DynamicQuantizeLinear (x)",
        "y_int32 = MatMulInteger (x_u8, w_quantized, x_zero_point, w_zero_point)",
        "y_sum = Cast <to: int = 1> (y_int32)",
        "y_scales = Mul (x_scale, w_scale)",
        "y = Mul (y_sum, y_scales)",
        "z_int32 = MatMulInteger (x_u8, v_quantized, x_zero_point, v_zero_point)",
        "z_sum = Cast <to: int = 1> (z_int32)",
        "z_scales = Mul (x_scale, v_scale)",
        "z_product = Mul (z_sum, z_scales)",
        "z = Add (z_product, b)",
    )
    np.testing.assert_array_equal(found.array("w_quantized"), [[127, 32], [-32, 127]])
    np.testing.assert_array_equal(found.array("v_quantized"), [[127, 64], [0, 127]])  # transposed


def test_bodies_read_outer_values_through_their_own_dequantize(place: Place) -> None:
    text = """g (bool k, float[2,2] x) => (float[2,2] y) <float[2,2] w = {1.0, 0.5, -0.25, 2.0}>
    {
       [h] u = MatMul(x, w)
       [if] y = If(k) <
          then_branch = yes () => (float[2,2] a) { [t] a = MatMul(u, w) },
          else_branch = no () => (float[2,2] b) { [e] b = Relu(u) }
       >
    }"""
    ranges = {"x": (-1.0, 1.55), "u": (-2.0, 3.1), "a": (-1.0, 1.55)}
    found = place(text, WEIGHTS, ranges, {"h": "int8", "t": "int8"})
    assert found.lines == (
        "x_quantized = QuantizeLinear (x, scale_1, zero_point_1)",
        "x_dequantized = DequantizeLinear (x_quantized, scale_1, zero_point_1)",
        "w_dequantized = DequantizeLinear <axis: int = 1> (w_quantized, w_scale, w_zero_point)",
        "u = MatMul (x_dequantized, w_dequantized)",
        "u_quantized = QuantizeLinear (u, scale, zero_point)",
        "y = If <else_branch: graph = ..., then_branch: graph = ...> (k)",
        "u_dequantized = DequantizeLinear (u_quantized, scale, zero_point)",
        "w_dequantized_1 = DequantizeLinear <axis: int = 1> (w_quantized, w_scale, w_zero_point)",
        "a_inner = MatMul (u_dequantized, w_dequantized_1)",
        "a_quantized = QuantizeLinear (a_inner, scale_1, zero_point_1)",
        "a = DequantizeLinear (a_quantized, scale_1, zero_point_1)",
        "u_dequantized_1 = DequantizeLinear (u_quantized, scale, zero_point)",
        "b = Relu (u_dequantized_1)",
    )
    assert found.reports["quantize-weights"].details["weights"] == 1


def test_concat_with_one_scale_moves_integers(place: Place) -> None:
    found = place(CONCAT, FOLDED, CONCAT_RANGES, {"jo": "int8-shared"})
    assert sorted(found.lines) == [
        "x_quantized = QuantizeLinear (x, scale, zero_point)",
        "y = DequantizeLinear (y_inner, scale, zero_point)",
        "y_inner = Concat <axis: int = 1> (x_quantized, z_quantized)",
        "z_quantized = QuantizeLinear (z, scale, zero_point)",
    ]


def test_concat_with_separate_scales_keeps_its_pairs(place: Place) -> None:
    found = place(CONCAT, FOLDED, CONCAT_RANGES, {"jo": "int8"})
    assert "y_inner = Concat <axis: int = 1> (x_dequantized, z_dequantized)" in found.lines
    assert float(found.program.placement.params("x").scale) == pytest.approx(1 / 255)
    assert float(found.program.placement.params("z").scale) == pytest.approx(2.55 / 255)


def test_concat_losses_are_squares_of_step_over_range(place: Place) -> None:
    """x spans 1 and gets the common step 0.01, or its own 1/255."""
    found = place(CONCAT, ALIGNED, CONCAT_RANGES, {"jo": "int8"})
    losses = found.reports["resolve-placement"].details["concat losses"]["jo"]
    assert losses["shared"] == pytest.approx(1e-4)
    assert losses["separate"] == pytest.approx(1e-4 + 255.0**-2)
    assert losses["operand_shared"] == pytest.approx(1e-4)
    assert losses["operand_separate"] == pytest.approx(255.0**-2)


TIED = """g (int64[3] ids) => (float[3,4] y)
<float[4,2] E = {1.0, 0.5, -0.25, 2.0, 3.0, 0.0, 0.0, 1.0}, float[2,4] t = {1.0, -0.25, 3.0, 0.0,
 0.5, 2.0, 0.0, 1.0}>
{ [look] h = Gather(E, ids) [head] y = MatMul(h, t) }"""


def test_tie_embeddings_reads_the_rows_of_the_products_weight(place: Place) -> None:
    dynamic = "assign-precision{scheme=int8-dynamic},resolve-placement,insert-dynamic-quantization"
    found = place(TIED, f"{dynamic},tie-embeddings,tie-embeddings")
    assert found.lines[:7] == (
        "t_quantized_columns = Transpose <perm: ints = [1, 0]> (t_quantized_rows)",
        "h_int8 = Gather <axis: int = 0> (t_quantized_rows, ids)",
        "h_steps = Cast <to: int = 1> (h_int8)",
        "h_step = Gather <axis: int = 0> (t_scale, ids)",
        "h_step_column = Unsqueeze (h_step, h_last)",
        "h_looked_up = Mul (h_steps, h_step_column)",
        "h_u8, h_scale, h_zero_point = DynamicQuantizeLinear (h_looked_up)",
    )
    rows = [[127, 64], [-16, 127], [127, 0], [0, 127]]
    np.testing.assert_array_equal(found.array("t_quantized_rows"), rows)
    assert "E" not in found.program.graph.initializers
