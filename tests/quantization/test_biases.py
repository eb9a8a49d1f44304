"""int32 biases fit, or the weights' scale is raised until they do."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.errors import ConfigurationError
from qcompiler.execution.integer.operand import QuantizedOperand
from qcompiler.execution.integer.reference import reference
from qcompiler.quantization.biases import bias_range_guard, quantize_bias
from qcompiler.quantization.parameters import (
    choose_qparams,
    weight_qparams,
)
from qcompiler.quantization.qspace import (
    S8_SYMMETRIC,
    S8_SYMMETRIC_PER_CHANNEL,
    U8_AFFINE,
    Granularity,
    QSpace,
)

GROUPS = QSpace(ir.DataType.INT4, symmetric=True, granularity=Granularity.GROUP, group_size=4)


def test_t06_near_dead_channels_keep_their_bias() -> None:
    rng = np.random.default_rng(6)
    weight = rng.standard_normal((4, 1, 3, 3)).astype(np.float32)
    weight[1], weight[2] = 1e-12, 0.0
    bias = np.asarray([0.3, -4.5, -4.5, 0.1], np.float32)
    x = rng.standard_normal((1, 4, 8, 8)).astype(np.float32)
    input_params = choose_qparams(x.min(), x.max(), U8_AFFINE)
    plain = weight_qparams(weight, S8_SYMMETRIC_PER_CHANNEL, 0)
    guarded = bias_range_guard(bias, input_params.scale, plain)
    steps = bias.astype(np.float64) / (float(input_params.scale) * guarded.scale.astype(np.float64))
    assert np.all(np.abs(steps) <= 2**30)
    np.testing.assert_array_equal(guarded.scale[[0, 3]], plain.scale[[0, 3]])
    whole = quantize_bias(bias, input_params.scale, guarded.scale)
    operands = [QuantizedOperand.of(x, input_params)], QuantizedOperand.of(weight, guarded)
    result = reference("Conv", {"group": 4}, operands[0], operands[1], whole)
    windows = np.lib.stride_tricks.sliding_window_view(x[0], (3, 3), (1, 2))
    wanted = np.einsum("cyxij,cij->cyx", windows, weight[:, 0]) + bias[:, None, None]
    assert np.all(np.isfinite(result))
    np.testing.assert_allclose(result[0, 1:3], wanted[1:3], rtol=1e-6)
    assert np.linalg.norm(result[0] - wanted) / np.linalg.norm(wanted) < 0.02


def test_t06_without_the_guard_the_bias_saturates() -> None:
    """Negative control: a scale of 1e-12 / 127 alone does not carry the bias."""
    own = choose_qparams(np.asarray([-1e-12]), np.asarray([1e-12]), S8_SYMMETRIC_PER_CHANNEL, 0)
    bias = np.asarray([-4.5], np.float32)
    assert quantize_bias(bias, 0.02, own.scale)[0] == -(2**31)
    guarded = bias_range_guard(bias, 0.02, own)
    restored = quantize_bias(bias, 0.02, guarded.scale) * (np.float32(0.02) * guarded.scale)
    np.testing.assert_allclose(restored, bias, rtol=1e-6)


def test_the_guard_returns_parameters_that_fit_as_they_are() -> None:
    params = choose_qparams(-1.0, 1.0, S8_SYMMETRIC)
    assert bias_range_guard(np.asarray([3.0], np.float32), 0.1, params) is params
    raised = bias_range_guard(np.asarray([0.5, 1e9], np.float32), 0.1, params)
    assert raised.scale.shape == ()
    assert 1e9 / (0.1 * float(raised.scale)) <= 2**30
    with pytest.raises(ConfigurationError, match="group"):
        bias_range_guard(np.zeros(3), 0.1, weight_qparams(np.ones((4, 3)), GROUPS, 0))
