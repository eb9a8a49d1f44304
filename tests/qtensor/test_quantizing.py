from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import qcompiler as qc
from qcompiler.errors import ConfigurationError

TABLE = [[191.6, -13.5, 728.6], [92.14, 295.5, -184.0], [0.0, 684.6, 245.5]]


def _values(seed: int = 0, shape: tuple[int, ...] = (5, 12)) -> np.ndarray[Any, Any]:
    return (3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def test_the_worked_example() -> None:
    """Scale and zero point given; one value leaves the range."""
    q = qc.quantize(TABLE, scale=3.5, zero_point=-70)
    assert q.integers == [[-15, -74, 127], [-44, 14, -123], [-70, 126, 0]]
    assert q.dequantize() == [[192.5, -14.0, 689.5], [91.0, 294.0, -185.5], [0.0, 686.0, 245.0]]
    assert q.error()[0][2] == pytest.approx(728.6 - 689.5)
    assert (q.scale, q.zero_point, q.bits) == (3.5, -70, 8)


def test_the_worked_example_with_its_own_parameters() -> None:
    q = qc.quantize(np.asarray(TABLE))
    assert q.scale == pytest.approx((728.6 + 184.0) / 255, rel=1e-6)
    assert q.zero_point == round(-128 + 184.0 / ((728.6 + 184.0) / 255)) == -77
    assert np.abs(q.error()).max() <= q.scale / 2 * (1 + 1e-6)


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize("dtype", [None, "unsigned"])
def test_affine_formula_at_every_width(bits: int, dtype: str | None) -> None:
    """Against the formula written out in Python's own numbers."""
    x = _values(bits).ravel()
    width = next(each for each in (2, 4, 8, 16) if each >= bits)
    q = qc.quantize(x, bits, dtype=None if dtype is None else f"uint{width}")
    low = 0 if dtype else -(2 ** (bits - 1))
    high = low + 2**bits - 1
    scale = np.float32((float(x.max()) - float(x.min())) / (high - low))
    zero = round(low - float(x.min()) / float(scale))
    assert np.float32(q.scale) == scale
    assert q.zero_point == zero
    wanted = [min(max(round(float(v / scale)) + zero, low), high) for v in x]
    assert q.integers.tolist() == wanted


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
def test_symmetric_formula(bits: int) -> None:
    x = _values(bits)
    q = qc.quantize(x, bits, symmetric=True)
    assert q.scale == pytest.approx(float(np.abs(x).max()) / (2 ** (bits - 1) - 1), rel=1e-6)
    assert q.zero_point == 0
    assert np.abs(q.integers.astype(int)).max() == 2 ** (bits - 1) - 1


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_channels_are_quantized_as_if_alone(symmetric: bool, axis: int) -> None:
    x = _values(shape=(3, 4, 5))
    q = qc.quantize(x, symmetric=symmetric, granularity="channel", axis=axis)
    for index in range(x.shape[axis]):
        alone = qc.quantize(x.take(index, axis), symmetric=symmetric)
        np.testing.assert_array_equal(q.integers.take(index, axis), alone.integers)
        assert q.scale[index] == np.float32(alone.scale)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_groups_are_quantized_as_if_alone(axis: int) -> None:
    """The last group is shorter: 5 does not divide 12, nor 7."""
    x = _values(shape=(7, 12))
    q = qc.quantize(x, 4, granularity="group", group_size=5, axis=axis)
    rows, whole = np.moveaxis(x, axis, -1), np.moveaxis(q.integers, axis, -1)
    for row, start in itertools.product(range(len(rows)), range(0, rows.shape[1], 5)):
        alone = qc.quantize(rows[row, start : start + 5], 4)
        np.testing.assert_array_equal(whole[row, start : start + 5], alone.integers)


def test_agrees_with_torch() -> None:
    x = torch.from_numpy(_values(3))
    for scale, zero in ((0.05, 3), (0.5, -100), (1.0, 0)):
        wanted = torch.fake_quantize_per_tensor_affine(x, scale, zero, -128, 127)
        found = qc.quantize(x, scale=scale, zero_point=zero).dequantize()
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "make",
    [
        float,
        list,
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(ml_dtypes.bfloat16),
        torch.from_numpy,
        lambda x: torch.from_numpy(x).double(),
        lambda x: torch.from_numpy(x).bfloat16().requires_grad_(),
        lambda x: torch.from_numpy(x).half(),
    ],
)
def test_results_are_of_the_kind_of_the_source(make: Callable[[Any], Any]) -> None:
    source = make(np.float32(1.5) if make is float else _values().ravel())
    q = qc.quantize(source)
    for back in (q.dequantize(), q.error()):
        assert type(back) is type(source)
        assert getattr(back, "dtype", None) == getattr(source, "dtype", None)
    assert isinstance(q.integers, type(source) if not isinstance(source, float) else int)
    if isinstance(source, torch.Tensor):
        assert q.integers.dtype is torch.int8  # type: ignore[union-attr]


def test_narrow_floats_do_not_overflow_on_the_way_back() -> None:
    x = np.asarray([65504.0, -65504.0, 1.0], np.float16)
    assert np.all(np.isfinite(qc.quantize(x, 2).dequantize()))


def test_integers_are_numbers_too() -> None:
    assert qc.quantize([0, 255], dtype="uint8").integers == [0, 255]
    assert qc.quantize(np.arange(4), 2, dtype="uint2").dequantize().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8, 12, 16])
def test_packed_bytes_hold_the_integers(bits: int) -> None:
    q = qc.quantize(_values(shape=(3, 7)), bits)
    assert q.packed.nbytes == q.nbytes == -(-21 * q.stored_bits // 8)
    again = qc.QTensor.unpacked(q.packed, q.shape, q.params)
    np.testing.assert_array_equal(again.integers, q.integers)


def test_four_bits_are_packed_as_onnx_packs_them() -> None:
    import onnx

    q = qc.quantize(_values(shape=(3, 7)), 4)
    tensor = onnx.TensorProto(
        dims=[3, 7], data_type=onnx.TensorProto.INT4, raw_data=q.packed.tobytes()
    )
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor).astype(np.int8), q.integers)


def test_repr_shows_scale_zero_point_and_bits() -> None:
    text = repr(qc.quantize(TABLE, scale=3.5, zero_point=-70))
    for part in ("S=3.5", "Z=-70", "bits=8", "int8", "-74"):
        assert part in text
    assert "axis=0" in repr(qc.quantize(_values(), granularity="channel"))


def test_zeros_constants_and_small_ranges_have_defined_results() -> None:
    zeros = qc.quantize(np.zeros((2, 3), np.float32))
    assert zeros.scale == 1.0
    assert not zeros.dequantize().any()
    for value in (5.0, -5.0, 1e30):
        constant = qc.quantize(np.full(4, value, np.float32))
        np.testing.assert_allclose(constant.dequantize(), value, rtol=1e-6)
    assert qc.quantize(np.float32(1e-30)).scale == 2.0**-62


def test_a_range_as_wide_as_float32_is_taken() -> None:
    most = float(np.finfo(np.float32).max)
    q = qc.quantize([-most, 0.0, most])
    assert np.isfinite(q.dequantize()).all()
    assert q.integers[0] == -128
    assert q.integers[2] == 127


def test_the_source_may_change_afterwards() -> None:
    x = _values()
    q = qc.quantize(x)
    before = q.mse()
    x[:] = 0
    assert q.mse() == before


def test_a_loss_in_decibels() -> None:
    x = np.asarray([1.0, -1.0, 0.25], np.float32)
    q = qc.quantize(x, scale=0.5, zero_point=0)
    assert q.sqnr() == pytest.approx(10 * np.log10(2.0625 / 0.0625))
    assert qc.quantize([0.0, 1.0], scale=0.5).sqnr() == float("inf")


@pytest.mark.parametrize(
    ("kind", "granularity"),
    [
        *itertools.product(("log2", "log2x2", "codebook"), ("tensor", "channel")),
        ("codebook", "group"),
    ],
)
def test_levels_that_are_not_even(kind: str, granularity: str) -> None:
    """Every value takes the nearest level of its own table and scale."""
    x = _values(shape=(6, 20))
    size = 4 if granularity == "group" else None
    q = qc.quantize(x, 3, kind=kind, granularity=granularity, group_size=size)
    levels = q.params.levels
    assert levels is not None
    assert q.params.space.numbers in repr(q)
    real = q.dequantize()
    for row in range(6):
        table = levels if levels.ndim == 1 else levels[row // (size or 1)]
        scale = q.params.scale if q.params.scale.ndim == 0 else q.params.scale[row]
        own = np.abs(x[row, :, None] - (table * scale)[None]).min(axis=1)
        np.testing.assert_allclose(np.abs(real[row] - x[row]), own, atol=1e-6)
    assert q.nbytes == 45
    again = qc.QTensor.unpacked(q.packed, q.shape, q.params)
    np.testing.assert_array_equal(again.integers, q.integers)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: qc.quantize([1.0, float("nan")]), "NaN"),
        (lambda: qc.quantize(np.asarray([np.inf], np.float32)), "infinity"),
        (lambda: qc.quantize(torch.tensor([torch.inf])), "infinity"),
        (lambda: qc.quantize([1e300]), "beyond float32"),
        (lambda: qc.quantize([10**400]), "cannot be quantized"),
        (lambda: qc.quantize([]), "empty"),
        (lambda: qc.quantize(torch.zeros(0, 3)), "empty"),
        (lambda: qc.quantize([[1.0], [1.0, 2.0]]), "differ in length"),
        (lambda: qc.quantize("words"), "cannot be quantized"),
        (lambda: qc.quantize(None), "cannot be quantized"),
        (lambda: qc.quantize(True), "cannot be quantized"),
        (lambda: qc.quantize(np.asarray([True])), "cannot be quantized"),
        (lambda: qc.quantize(np.asarray([1j])), "cannot be quantized"),
        (lambda: qc.quantize(np.zeros(2, [("a", "f4")])), "cannot be quantized"),
        (lambda: qc.quantize(torch.zeros(2, dtype=torch.complex64)), "cannot be quantized"),
        (lambda: qc.quantize(torch.zeros(2, device="meta")), "cannot be quantized"),
        (lambda: qc.quantize([1.0], 1), "1 bits"),
        (lambda: qc.quantize([1.0], 17), "17 bits"),
        (lambda: qc.quantize([1.0], 4.0), "4.0 bits"),  # type: ignore[arg-type]
        (lambda: qc.quantize([1.0], True), "True bits"),
        (lambda: qc.quantize([1.0], 8, dtype="int4"), "do not fit int4"),
        (lambda: qc.quantize([1.0], dtype="float32"), "no integer type"),
        (lambda: qc.quantize([1.0], dtype=torch.int64), "no integer type"),
        (lambda: qc.quantize([1.0], granularity="row"), "no granularity"),
        (lambda: qc.quantize([1.0], axis=0), "no meaning per tensor"),
        (lambda: qc.quantize([1.0], granularity="channel", axis=1), "no axis 1"),
        (lambda: qc.quantize(1.0, granularity="channel"), "no axis 0"),
        (lambda: qc.quantize([1.0], granularity="channel", axis="x"), "no axis 'x'"),  # type: ignore[arg-type]
        (lambda: qc.quantize([1.0], granularity="group"), "no group size"),
        (lambda: qc.quantize([1.0], granularity="group", group_size=0), "no group size"),
        (lambda: qc.quantize([1.0], scale=0.0), "positive"),
        (lambda: qc.quantize([1.0], scale=-1.0), "positive"),
        (lambda: qc.quantize([1.0], scale=1e-60), "positive"),
        (lambda: qc.quantize([1.0], scale=float("nan")), "NaN"),
        (lambda: qc.quantize([1.0, 2.0], scale=[1.0, 2.0]), "does not fit"),
        (lambda: qc.quantize([1.0], scale=1.0, zero_point=0.5), "no integer"),
        (lambda: qc.quantize([1.0], scale=1.0, zero_point=128), "no integer"),
        (lambda: qc.quantize([1.0], symmetric=True, scale=1.0, zero_point=3), "not symmetric"),
        (lambda: qc.quantize([1.0], zero_point=3), "has no meaning"),
        (lambda: qc.quantize([1.0], kind="log3"), "no levels"),
        (
            lambda: qc.quantize([1.0], kind="log2", granularity="group", group_size=2),
            "per tensor or per channel",
        ),
        (lambda: qc.quantize([1.0], kind="log2", scale=1.0), "has no meaning"),
        (lambda: qc.quantize([1.0, 2.0]).error([1.0]), "not that of"),
        (lambda: bool(qc.quantize(1.0)), "not defined"),
    ],
)
def test_mistakes_are_told(call: Callable[[], object], part: str) -> None:
    with pytest.raises(ConfigurationError, match=part):
        call()
