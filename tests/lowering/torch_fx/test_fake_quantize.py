"""`FakeQuantize` against numpy's numerics, and its gradient by hand."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
import torch

from qcompiler.lowering.torch_fx.fake_quantize import FakeQuantize, fake_quantizer
from qcompiler.quantization.numerics import fake_quantize
from qcompiler.quantization.parameters import weight_qparams
from qcompiler.quantization.qspace import (
    S8_SYMMETRIC_PER_CHANNEL,
    S32_BIAS,
    U8_AFFINE,
    Granularity,
    Levels,
    QParams,
    QSpace,
)


def _params(space: QSpace, scale: object, zero: object, axis: int | None = None) -> QParams:
    return QParams(np.asarray(scale, np.float32), np.asarray(zero, np.int64), space, axis)


def test_values_come_onto_the_grid_and_saturate() -> None:
    """Steps of 0.5 with zero point 10; ties go to even: -0.25 is half a step below zero."""
    x = torch.tensor([-9.0, -5.0, -0.25, 0.1, 0.74, 0.76, 122.5, 200.0])
    found = FakeQuantize(_params(U8_AFFINE, 0.5, 10))(x)
    assert found.tolist() == [-5.0, -5.0, 0.0, 0.0, 0.5, 1.0, 122.5, 122.5]


def test_every_channel_has_its_own_grid() -> None:
    x = torch.tensor([[0.3, -200.0], [0.3, 1.2]])
    params = _params(S8_SYMMETRIC_PER_CHANNEL, [1.0, 0.25], [0, 0], axis=0)
    assert FakeQuantize(params, (2, 2))(x).tolist() == [[0.0, -127.0], [0.25, 1.25]]


def test_groups_along_the_blocked_axis() -> None:
    space = QSpace(ir.DataType.INT4, True, Granularity.GROUP, group_size=2)
    params = _params(space, [[1.0], [0.5]], [[0], [0]], axis=0)
    x = torch.tensor([[1.3], [9.0], [1.3], [-9.0]])
    assert FakeQuantize(params, (4, 1))(x).ravel().tolist() == [1.0, 7.0, 1.5, -4.0]


def test_a_bias_keeps_its_31_bits() -> None:
    value = 1e-3 * 1_234_567_891  # float32 has 24 bits of it
    found = FakeQuantize(_params(S32_BIAS, 1e-3, 0))(torch.tensor([value], dtype=torch.float64))
    assert (
        abs(float(found) / float(np.float32(1e-3)) - round(value / float(np.float32(1e-3)))) < 1e-3
    )


def test_float8_is_ml_dtypes() -> None:
    x = np.random.default_rng(0).normal(0, 5, 100).astype(np.float32)
    space = QSpace(ir.DataType.FLOAT8E4M3FN, True)
    found = FakeQuantize(_params(space, 0.25, 0))(torch.from_numpy(x)).numpy()
    wanted = (x / np.float32(0.25)).astype(ml_dtypes.float8_e4m3fn).astype(np.float32) * 0.25
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("x", "slope"), [(-5.1, 1.0), (-5.3, 0.0), (122.7, 1.0), (122.8, 0.0)])
def test_the_gradient_goes_straight_through_where_nothing_saturates(x: float, slope: float) -> None:
    """The grid ends at -5 and 122.5; what rounds to an end lies inside."""
    given = torch.tensor([x], requires_grad=True)
    FakeQuantize(_params(U8_AFFINE, 0.5, 10))(given).backward(torch.tensor([3.0]))
    assert given.grad is not None
    assert given.grad.tolist() == [3.0 * slope]


@pytest.mark.parametrize("levels", [Levels.LOG2, Levels.LOG2_SUMS, Levels.CODEBOOK])
@pytest.mark.parametrize(
    ("granularity", "size", "axis"),
    [("tensor", None, None), ("channel", None, 0), ("channel", None, 2), ("group", 2, 1)],
)
def test_levels_that_are_not_even_are_numpys(
    levels: Levels, granularity: str, size: int | None, axis: int | None
) -> None:
    over = Granularity(granularity)
    space = QSpace(ir.DataType.UINT8, True, over, size, bits=3, levels=levels)
    values = np.random.default_rng(0).standard_normal((4, 5, 6)).astype(np.float32)
    params = weight_qparams(values, space, axis)
    given = torch.from_numpy(2 * values).requires_grad_()
    found = fake_quantizer(params, values.shape)(given)
    np.testing.assert_array_equal(found.detach().numpy(), fake_quantize(2 * values, params))
    found.backward(torch.full(values.shape, 3.0))
    assert given.grad is not None
    assert bool((given.grad == 3.0).all())
