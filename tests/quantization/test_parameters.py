"""Scales and zero points from ranges."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.quantization.numerics import fake_quantize
from qcompiler.quantization.parameters import (
    SCALE_FLOOR,
    choose_qparams,
    qparams_of_ranges,
    weight_qparams,
)
from qcompiler.quantization.qspace import (
    S8_AFFINE,
    S8_SYMMETRIC,
    U8_AFFINE,
    U16_AFFINE,
    Granularity,
    QSpace,
    Range,
)

GROUPS = QSpace(ir.DataType.INT4, symmetric=True, granularity=Granularity.GROUP, group_size=4)


def test_groups_share_a_scale() -> None:
    values = np.random.default_rng(2).standard_normal((10, 3)).astype(np.float32)
    params = weight_qparams(values, GROUPS, 0)
    assert params.scale.shape == (3, 3)  # 4 + 4 + 2 rows
    wanted = np.concatenate(
        [
            fake_quantize(values[i : i + 4, j : j + 1], weight_qparams(
                values[i : i + 4, j : j + 1], QSpace(ir.DataType.INT4, symmetric=True)))
            for i in (0, 4, 8) for j in range(3)
        ]
    )  # fmt: skip
    found = fake_quantize(values, params)
    flat = np.concatenate([found[i : i + 4, j : j + 1] for i in (0, 4, 8) for j in range(3)])
    np.testing.assert_array_equal(flat, wanted)


@pytest.mark.parametrize("space", [U8_AFFINE, S8_AFFINE, S8_SYMMETRIC, U16_AFFINE])
@pytest.mark.parametrize("high", [0.0, 1e-45, 1e-38, 1e-20, 1.0, 3e37])
def test_degenerate_ranges_give_a_usable_scale(space: QSpace, high: float) -> None:
    params = choose_qparams(0.0, high, space)
    assert float(params.scale) >= SCALE_FLOOR
    assert np.isfinite(1.0 / params.scale)
    assert fake_quantize(np.zeros(1), params)[0] == 0.0


def test_a_relu_range_has_its_zero_point_at_the_bottom() -> None:
    assert int(choose_qparams(0.0, 6.0, U8_AFFINE).zero_point) == 0
    assert int(choose_qparams(0.5, 6.0, U8_AFFINE).zero_point) == 0
    assert int(choose_qparams(0.0, 6.0, S8_AFFINE).zero_point) == -128
    assert float(choose_qparams(0.0, 6.0, U8_AFFINE).scale) == np.float32(6.0 / 255.0)


def test_an_unsigned_symmetric_space_is_centred() -> None:
    params = choose_qparams(-1.0, 0.5, QSpace(ir.DataType.UINT8, symmetric=True))
    assert int(params.zero_point) == 128
    assert fake_quantize(np.asarray([-1.0]), params)[0] == -1.0


def test_parameters_of_many_ranges_are_those_of_each() -> None:
    rng = np.random.default_rng(0)
    spaces = [(U8_AFFINE, S8_SYMMETRIC, U16_AFFINE)[i % 3] for i in range(300)]
    low = -rng.lognormal(0, 4, 300) * rng.integers(0, 2, 300)
    ranges = [Range(a, a + b) for a, b in zip(low, rng.lognormal(0, 4, 300), strict=True)]
    ranges[7] = Range(0.0, 0.0)
    for found, each, space in zip(qparams_of_ranges(ranges, spaces), ranges, spaces, strict=True):
        assert found.scale.shape == ()
        assert found.same_as(choose_qparams(each.low, each.high, space))
