"""Laws of rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from qcompiler.quantization.numerics import dequantize, fake_quantize, quantize, requantize
from qcompiler.quantization.parameters import SCALE_FLOOR, choose_qparams, weight_qparams
from qcompiler.quantization.qspace import Granularity, QParams, QSpace

Array = npt.NDArray[Any]
LAW = settings(max_examples=50, deadline=None)
_DTYPES = [
    ir.DataType.INT2,
    ir.DataType.UINT2,
    ir.DataType.INT4,
    ir.DataType.UINT4,
    ir.DataType.INT8,
    ir.DataType.UINT8,
    ir.DataType.INT16,
    ir.DataType.UINT16,
]
_FLOAT8 = {ir.DataType.FLOAT8E4M3FN: (3, -9), ir.DataType.FLOAT8E5M2: (2, -16)}
"""Bits of the mantissa and the exponent of the smallest number (arXiv 2209.05433, table 1)."""
_floats = st.floats(-(2.0**100), 2.0**100, width=32)


@st.composite
def spaces(draw: st.DrawFn) -> QSpace:
    dtype = draw(st.sampled_from(_DTYPES))
    bits = draw(st.integers(2, dtype.bitwidth))
    return QSpace(dtype, draw(st.booleans()), narrow=draw(st.booleans()), bits=bits)


@st.composite
def params(draw: st.DrawFn) -> QParams:
    ends = sorted([draw(_floats), draw(_floats)])
    return choose_qparams(ends[0], ends[1], draw(spaces()))


def arrays() -> st.SearchStrategy[Array]:
    return npst.arrays(np.float32, npst.array_shapes(max_dims=3, max_side=9), elements=_floats)


@st.composite
def float8(draw: st.DrawFn) -> QSpace:
    return QSpace(draw(st.sampled_from(list(_FLOAT8))), symmetric=True)


@LAW
@given(arrays(), float8())
def test_float8_rounds_to_the_nearest_and_never_to_infinity(values: Array, space: QSpace) -> None:
    """Within half a step of 3 or 2 stored bits of the mantissa; below those, of the smallest."""
    found = weight_qparams(values, space)
    rounded = quantize(values, found)
    assert rounded.dtype == space.dtype.numpy()
    back = dequantize(rounded, found).astype(np.float64)
    assert np.isfinite(back).all()
    np.testing.assert_array_equal(quantize(back.astype(np.float32), found), rounded)
    mantissa, smallest = _FLOAT8[space.dtype]
    step = np.maximum(
        np.abs(values) * 2.0 ** -(mantissa + 1), float(found.scale) * 2.0 ** (smallest - 1)
    )
    assert (np.abs(back - values) <= step * (1 + 1e-5)).all()


@LAW
@given(params())
def test_zero_is_exact(found: QParams) -> None:
    assert fake_quantize(np.zeros(1, np.float32), found)[0] == 0.0
    assert found.space.qmin <= int(found.zero_point) <= found.space.qmax


@LAW
@given(params(), arrays())
def test_round_trip_error_is_half_a_step_inside_the_range(found: QParams, values: Array) -> None:
    span = found.representable
    inside = np.clip(values, span.low, span.high).astype(np.float64)
    inside = inside.astype(np.float32)
    error = np.abs(fake_quantize(inside, found).astype(np.float64) - inside)
    # Quotient, product and the clipped ends are each rounded to float32: 4 * 2**-24 of the value.
    slack = 2.0**-22 * max(abs(span.low), abs(span.high))
    assert np.all(error <= float(found.scale) / 2 + slack)


@LAW
@given(params(), arrays())
def test_values_beyond_the_range_saturate(found: QParams, values: Array) -> None:
    data = quantize(values, found).astype(np.int64)
    assert data.min() >= found.space.qmin
    assert data.max() <= found.space.qmax
    far = np.asarray([-np.inf, np.inf], np.float32)
    assert quantize(far, found).astype(int).tolist() == [found.space.qmin, found.space.qmax]


@LAW
@given(params(), arrays())
def test_quantize_is_monotone(found: QParams, values: Array) -> None:
    data = quantize(np.sort(values.ravel()), found).astype(np.int64)
    assert np.all(np.diff(data) >= 0)


@LAW
@given(params(), arrays())
def test_fake_quantize_is_idempotent(found: QParams, values: Array) -> None:
    once = fake_quantize(values, found)
    np.testing.assert_array_equal(fake_quantize(once, found), once)


@LAW
@given(params())
def test_every_level_survives_the_round_trip(found: QParams) -> None:
    space = found.space
    levels = np.arange(space.qmin, space.qmax + 1).astype(space.dtype.numpy())
    again = quantize(dequantize(levels, found), found)
    np.testing.assert_array_equal(again.astype(int), levels.astype(int))


@LAW
@given(_floats, _floats, spaces())
def test_the_scale_is_finite_and_covers_the_range(one: float, two: float, space: QSpace) -> None:
    low, high = min(one, two, 0.0), max(one, two, 0.0)
    found = choose_qparams(low, high, space)
    assert np.isfinite(found.scale)
    assert float(found.scale) >= SCALE_FLOOR
    # A rounded zero point shifts the interval by at most half a step.
    half = float(found.scale) / 2 * (1 + 1e-6)
    slack = 1e-6 * max(-low, high)
    assert found.representable.low <= low + half + slack
    assert found.representable.high >= high - half - slack


@LAW
@given(arrays(), st.data())
def test_channels_are_quantized_independently(values: Array, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-values.ndim, values.ndim - 1))
    space = QSpace(ir.DataType.INT8, True, Granularity.CHANNEL)
    found = weight_qparams(values, space, axis)
    whole = fake_quantize(values, found)
    assert np.all(np.isfinite(whole))
    for index in range(values.shape[axis]):
        single = QParams(found.scale[index], found.zero_point[index], QSpace(space.dtype, True))
        alone = fake_quantize(values.take(index, axis), single)
        np.testing.assert_array_equal(whole.take(index, axis), alone)


@LAW
@given(arrays(), st.integers(1, 5), st.data())
def test_groups_cover_their_values(values: Array, size: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, values.ndim - 1))
    space = QSpace(ir.DataType.INT4, True, Granularity.GROUP, size)
    found = weight_qparams(values, space, axis)
    assert found.scale.shape[axis] == -(-values.shape[axis] // size)
    steps = np.repeat(found.scale, size, axis)
    steps = steps.take(range(values.shape[axis]), axis)
    error = np.abs(fake_quantize(values, found).astype(np.float64) - values)
    assert np.all(error <= steps.astype(np.float64) * (0.5 + 1e-5))


@LAW
@given(
    npst.arrays(np.int32, 20, elements=st.integers(-(2**31), 2**31 - 1)),
    st.floats(2.0**-40, 2.0**4, width=32),
    st.integers(-128, 127),
)
def test_requantize_is_the_float32_product_rounded_to_even(
    sums: npt.NDArray[np.int32], multiplier: float, zero: int
) -> None:
    """Oracle: Python's own round, which is half to even, on the float32 product."""
    space = QSpace(ir.DataType.INT8, symmetric=False)
    found = requantize(sums, np.asarray(multiplier, np.float32), zero, space)
    products = [np.float32(np.float32(value) * np.float32(multiplier)) for value in sums]
    wanted = [min(127, max(-128, round(float(product)) + zero)) for product in products]
    assert found.tolist() == wanted
