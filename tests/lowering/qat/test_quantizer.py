"""Learned grids against `quantization.numerics` and the formulas of LSQ and LSQ+."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from qcompiler.lowering.qat.first_steps import first_params
from qcompiler.lowering.qat.quantizer import Quantizer
from qcompiler.lowering.qat.straight_through import OnLearnedGrid
from qcompiler.quantization.numerics import fake_quantize
from qcompiler.quantization.parameters import choose_qparams, weight_qparams
from qcompiler.quantization.qspace import (
    F8_E4M3,
    S8_SYMMETRIC_PER_CHANNEL,
    U8_AFFINE,
    Granularity,
    Levels,
    QParams,
    QSpace,
)

S4_GROUPS = QSpace(ir.DataType.INT4, True, Granularity.GROUP, 16)
U2_GROUPS = QSpace(ir.DataType.UINT2, False, Granularity.GROUP, 16)
CODEBOOK, CODEBOOKS, SUMS = (
    QSpace(ir.DataType.UINT8, True, over, size, bits=3, levels=levels)
    for over, size, levels in (
        (Granularity.TENSOR, None, Levels.CODEBOOK),
        (Granularity.GROUP, 16, Levels.CODEBOOK),
        (Granularity.CHANNEL, None, Levels.LOG2_SUMS),
    )
)
TERNARY = QSpace(ir.DataType.INT2, True, Granularity.CHANNEL, narrow=True)


@pytest.mark.parametrize(
    ("space", "axis"),
    [
        (S8_SYMMETRIC_PER_CHANNEL, 0), (S8_SYMMETRIC_PER_CHANNEL, 1), (S4_GROUPS, 0),
        (S4_GROUPS, 1), (U2_GROUPS, 1), (TERNARY, 0),
        (F8_E4M3.with_granularity(Granularity.CHANNEL), 0), (CODEBOOK, 0), (CODEBOOKS, 0),
        (CODEBOOKS, 1), (SUMS, 1),
    ],
)  # fmt: skip
def test_weights_come_onto_the_grid_of_numerics(
    space: QSpace, axis: int, rng: np.random.Generator
) -> None:
    weight = rng.normal(0, 0.3, (40, 24)).astype(np.float32)
    params = weight_qparams(weight, space, axis)
    quantizer = Quantizer(params, weight.shape)
    found = quantizer(torch.from_numpy(weight)).detach().numpy()
    np.testing.assert_array_equal(found, fake_quantize(weight, params))
    assert quantizer.present().same_as(params)
    scale = params.scale * np.float32(1.3)
    wrong = QParams(scale, params.zero_point, space, params.axis, params.levels)
    assert not np.array_equal(found, fake_quantize(weight, wrong))


@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (-1.0, 3.0), (-3.0, 0.0)])
def test_values_come_onto_the_grid_of_numerics(
    low: float, high: float, rng: np.random.Generator
) -> None:
    x = rng.normal(0, 3, (5, 7)).astype(np.float32)
    params = choose_qparams(low, high, U8_AFFINE)
    quantizer = Quantizer(params)
    found = quantizer(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_array_equal(found, fake_quantize(x, params))
    assert quantizer.moves == (low < 0 < high)


def _reference(x: Any, step: Any, zero: Any, low: float, high: float) -> Any:
    """LSQ, equations 3 and 5, by autograd: rounding passes straight through."""

    def straight(value: Any) -> Any:
        return value + (torch.round(value) - value).detach()

    steps = straight(x / step) + straight(zero)
    return (torch.clamp(steps, low, high) - straight(zero)) * step


def test_gradients_are_those_of_lsq_plus(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.normal(0, 1, (6, 50))).requires_grad_()
    weights = torch.from_numpy(rng.normal(size=(6, 50)))
    grads = []
    for function in (OnLearnedGrid.apply, _reference):
        step = torch.tensor(0.0123, dtype=torch.float64, requires_grad=True)
        zero = torch.tensor(100.0, dtype=torch.float64, requires_grad=True)
        extra = (1.0,) if function is not _reference else ()
        y = function(x, step, zero, 0.0, 255.0, *extra)
        grads.append(torch.autograd.grad((y * weights).sum(), (x, step, zero)))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert grads[0][2].abs() > 0  # some values saturate


def test_gradients_per_channel_are_those_of_each_channel(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.normal(0, 1, (3, 40))).requires_grad_()
    step = torch.tensor([[0.3], [0.2], [0.5]], dtype=torch.float64, requires_grad=True)
    on_grid: Any = OnLearnedGrid.apply
    y = on_grid(x, step, None, -7.0, 7.0, 1.0)
    (together,) = torch.autograd.grad(y.square().sum(), step)
    for row in range(3):
        own = step[row : row + 1].detach().requires_grad_()
        zero = torch.zeros((), dtype=torch.float64)
        alone = _reference(x[row : row + 1].detach(), own, zero, -7.0, 7.0).square().sum()
        torch.testing.assert_close(torch.autograd.grad(alone, own)[0], together[row : row + 1])


def test_one_step_of_descent_moves_the_scale_as_lsq_moves_it(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.normal(0, 1, (8, 64)).astype(np.float32))
    params = choose_qparams(0.0, 2.0, U8_AFFINE)
    quantizer = Quantizer(params)
    before = quantizer.scale.item()
    quantizer(x).square().sum().backward()
    torch.optim.SGD(quantizer.parameters(), lr=1e-5).step()
    raw = torch.tensor(before, requires_grad=True)
    _reference(x, raw, torch.zeros(()), 0.0, 255.0).square().sum().backward()
    assert raw.grad is not None
    moved = 1e-5 * raw.grad.item() / math.sqrt(64 * 255)
    assert before - quantizer.scale.item() == pytest.approx(moved, rel=1e-3)


def test_adam_keeps_a_small_scale_positive() -> None:
    quantizer = Quantizer(choose_qparams(0.0, 1e-3, U8_AFFINE))
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=1e-2)
    x = torch.rand(16, 16) * 1e-3
    for _ in range(300):
        optimizer.zero_grad()
        quantizer(x).sum().backward()
        optimizer.step()
    assert quantizer.scale.item() > 0
    assert torch.isfinite(quantizer(x)).all()


def test_moving_averages_follow_the_data_until_frozen() -> None:
    quantizer = Quantizer(choose_qparams(-1.0, 1.0, U8_AFFINE), learned=False)
    data = torch.linspace(-4.0, 8.0, 101)
    for _ in range(200):
        quantizer(data)
    ends = quantizer.present().representable
    step = quantizer.scale.item()
    assert ends.low == pytest.approx(-4.0, abs=step)
    assert ends.high == pytest.approx(8.0, abs=step)
    quantizer.freeze()
    quantizer(data * 10)
    assert quantizer.present().representable == ends
    assert not any(each.requires_grad for each in quantizer.parameters())


def test_a_grid_in_evaluation_does_not_follow() -> None:
    quantizer = Quantizer(choose_qparams(0.0, 1.0, U8_AFFINE), learned=False).eval()
    before = quantizer.present()
    quantizer(torch.full((4,), 9.0))
    assert quantizer.present().same_as(before)


def test_weights_that_are_not_learned_take_their_present_extremes(rng: np.random.Generator) -> None:
    weight = rng.normal(0, 0.3, (8, 9)).astype(np.float32)
    quantizer = Quantizer(
        weight_qparams(weight, S8_SYMMETRIC_PER_CHANNEL, 0), weight.shape, learned=False
    )
    larger = weight * np.linspace(1, 3, 8, dtype=np.float32)[:, None]
    quantizer(torch.from_numpy(larger))
    expected = weight_qparams(larger, S8_SYMMETRIC_PER_CHANNEL, 0)
    np.testing.assert_allclose(quantizer.present().scale, expected.scale, rtol=1e-6)


def test_few_levels_start_from_the_least_squared_error(rng: np.random.Generator) -> None:
    weight = rng.standard_t(4, (16, 64)).astype(np.float32)
    params = weight_qparams(weight, TERNARY, 0)
    better = first_params(weight, params)

    def error(given: QParams) -> Any:
        return np.square(weight - fake_quantize(weight, given)).sum(axis=1)

    assert np.all(error(better) <= error(params))
    assert error(better).sum() < 0.8 * error(params).sum()
    wide = weight_qparams(weight, S8_SYMMETRIC_PER_CHANNEL, 0)
    assert first_params(weight, wide) is wide


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_keep_theirs(dtype: torch.dtype) -> None:
    quantizer = Quantizer(choose_qparams(-1.0, 1.0, U8_AFFINE))
    found = quantizer(torch.linspace(-1, 1, 9).to(dtype))
    assert found.dtype is dtype
    step = quantizer.scale.item()
    exact = torch.linspace(-1, 1, 9, dtype=torch.float64)
    assert (found.double() - exact).abs().max() <= step  # half a step, and the type's own rounding


def test_centroids_move_to_the_mean_of_their_members(rng: np.random.Generator) -> None:
    """Gradient descent on the squared error is Lloyd's algorithm; powers of two stay."""
    weight = torch.from_numpy(rng.normal(0, 0.3, (40, 24)).astype(np.float32))
    for space, moves in ((CODEBOOK, True), (SUMS, False)):
        quantizer = Quantizer(weight_qparams(weight.numpy(), space, 0), (40, 24))
        assert quantizer.levels is not None
        with torch.no_grad():
            quantizer.levels.mul_(1.8 if moves else 1.0)
        before = (quantizer(weight) - weight).square().sum()
        trained = [each for each in quantizer.parameters() if each.requires_grad]
        assert trained == ([quantizer.levels] if moves else [])
        for _ in range(200 if moves else 0):
            loss = (quantizer(weight) - weight).square().sum()
            (gradient,) = torch.autograd.grad(loss, trained)
            with torch.no_grad():
                quantizer.levels.sub_(0.02 * gradient)
        after = (quantizer(weight) - weight).square().sum()
        best = fake_quantize(weight.numpy(), weight_qparams(weight.numpy(), CODEBOOK, None))
        if moves:
            assert after < 0.8 * before
            assert after < 1.1 * np.square(best - weight.numpy()).sum()
        quantizer.freeze()
        assert not [each for each in quantizer.parameters() if each.requires_grad]
