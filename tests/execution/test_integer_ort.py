"""Convolutions and products of the integer reference against ONNX Runtime, bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.execution.integer.operand import QuantizedOperand
from qcompiler.execution.integer.reference import reference
from qcompiler.quantization.biases import quantize_bias
from qcompiler.quantization.qspace import (
    S8_AFFINE,
    S8_SYMMETRIC,
    S8_SYMMETRIC_PER_CHANNEL,
    U8_AFFINE,
    QParams,
    QSpace,
)

Array = npt.NDArray[Any]
Runtime = Callable[..., tuple[Array, list[str]]]
Params = Callable[..., QParams]
Operand = Callable[..., QuantizedOperand]
SPACES = pytest.mark.parametrize("space", [U8_AFFINE, S8_AFFINE], ids=["u8", "s8"])


def _weight(rng: np.random.Generator, shape: Sequence[int], axis: int | None) -> QuantizedOperand:
    space = S8_SYMMETRIC if axis is None else S8_SYMMETRIC_PER_CHANNEL
    count = () if axis is None else (shape[axis],)
    scale = (10 ** rng.uniform(-3, -2, count)).astype(np.float32)
    params = QParams(np.asarray(scale), np.zeros(count, np.int64), space, axis)
    return QuantizedOperand(rng.integers(-127, 128, tuple(shape)).astype(np.int8), params)


@dataclass(frozen=True)
class Case:
    """Arguments of `reference` for an op with a weight, and whether a ReLU follows."""

    arguments: tuple[Any, ...]
    relu: bool = False

    def outcomes(self, in_ort: Runtime) -> tuple[Array, Array, list[str]]:
        """The reference's result, ONNX Runtime's, and the ops of its optimized graph."""
        found, ops = in_ort(*self.arguments, relu=self.relu)
        return reference(*self.arguments, relu=self.relu), found, ops


def _weighted(
    rng: np.random.Generator,
    op: str,
    x: QuantizedOperand,
    weight: QuantizedOperand,
    *,
    reduction: int,
    channels: int | None,
    relu: bool = False,
    **attributes: Any,
) -> Case:
    """An output scale that uses the range, a bias of the size of the sums."""
    space = x.params.space
    spread = 74.0 * 73.0 * np.sqrt(reduction)
    bias = None
    if channels is not None:
        bias = rng.integers(-spread, spread, channels).astype(np.int32)
    step = float(x.params.scale) * float(weight.params.scale.mean()) * spread / 50.0
    zero = space.qmin if relu else rng.integers(space.qmin, space.qmax, endpoint=True)
    output = QParams(np.asarray(step, np.float32), np.asarray(zero, np.int64), space)
    return Case((op, attributes, [x], weight, bias, output), relu)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1d": ((2, 5, 17), (7, 5, 3), {"pads": [1, 1]}),
    "dense": ((2, 8, 9, 11), (6, 8, 3, 3), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    "pointwise": ((1, 33, 5, 5), (18, 33, 1, 1), {}),
    "dilated": ((1, 4, 13, 13), (4, 4, 3, 3), {"dilations": [2, 3], "pads": [2, 2, 2, 2]}),
    "grouped": ((1, 12, 7, 7), (6, 4, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
    "depthwise": ((2, 16, 8, 8), (16, 1, 3, 3), {"group": 16, "strides": [2, 2]}),
    "3d": ((1, 3, 5, 6, 7), (4, 3, 2, 3, 3), {"pads": [0, 1, 1, 1, 1, 1]}),
}


@SPACES
@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("per_channel", [False, True])
def test_conv_is_bit_equal(
    name: str,
    per_channel: bool,
    space: QSpace,
    in_ort: Runtime,
    random_operand: Operand,
) -> None:
    shape, kernel, attributes = CONVOLUTIONS[name]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        weight = _weight(rng, kernel, 0 if per_channel else None)
        reduction = int(np.prod(kernel[1:]))
        case = _weighted(
            rng,
            "Conv",
            random_operand(rng, shape, space),
            weight,
            reduction=reduction,
            channels=None if seed == 2 else kernel[0],
            relu=seed == 1,
            **attributes,
        )
        wanted, found, ops = case.outcomes(in_ort)
        assert "QLinearConv" in ops
        assert "Conv" not in ops
        np.testing.assert_array_equal(wanted, found)


@SPACES
@pytest.mark.parametrize("axis", [None, 1])
def test_matmul_is_bit_equal(
    axis: int | None,
    space: QSpace,
    in_ort: Runtime,
    random_operand: Operand,
) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        weight = _weight(rng, (67, 31), axis)
        case = _weighted(
            rng,
            "MatMul",
            random_operand(rng, (2, 9, 67), space),
            weight,
            reduction=67,
            channels=None,
        )
        wanted, found, ops = case.outcomes(in_ort)
        assert "QLinearMatMul" in ops
        np.testing.assert_array_equal(wanted, found)


@SPACES
def test_matmul_of_two_activations_is_bit_equal(
    space: QSpace,
    in_ort: Runtime,
    random_params: Params,
    random_operand: Operand,
) -> None:
    rng = np.random.default_rng(5)
    left, right = (
        random_operand(rng, (3, 8, 20), space, 0.02),
        random_operand(rng, (3, 20, 6), space, 0.03),
    )
    case = Case(
        ("MatMul", {}, [left, right], None, None, random_params(rng, space, 0.02 * 0.03 * 400))
    )
    wanted, found, ops = case.outcomes(in_ort)
    assert "QLinearMatMul" in ops
    np.testing.assert_array_equal(wanted, found)


@SPACES
@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("per_channel", [False, True])
def test_gemm_is_bit_equal(
    transposed: int,
    per_channel: bool,
    space: QSpace,
    in_ort: Runtime,
    random_operand: Operand,
) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        shape = (13, 65) if transposed else (65, 13)
        weight = _weight(rng, shape, (1 - transposed) if per_channel else None)
        case = _weighted(
            rng,
            "Gemm",
            random_operand(rng, (5, 65), space),
            weight,
            reduction=65,
            channels=13,
            transB=transposed,
        )
        wanted, found, ops = case.outcomes(in_ort)
        assert "QGemm" in ops
        np.testing.assert_array_equal(wanted, found)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        {"strides": [3, 2], "dilations": [1, 2]},
        {"group": 2, "pads": [2, 1, 0, 1]},
    ],
)
def test_conv_transpose_agrees_with_the_float_kernel(
    attributes: dict[str, Any],
    in_ort: Runtime,
    random_operand: Operand,
) -> None:
    """ORT runs it in float: float32 sums of exact products may fall on the other side of a tie."""
    rng = np.random.default_rng(3)
    weight = _weight(rng, (6, 4, 3, 3), None)
    channels = 4 * int(attributes.get("group", 1))
    x = random_operand(rng, (2, 6, 5, 7), U8_AFFINE)
    case = _weighted(rng, "ConvTranspose", x, weight, reduction=14, channels=channels, **attributes)
    wanted, found, ops = case.outcomes(in_ort)
    assert "ConvTranspose" in ops
    difference = np.abs(wanted.astype(int) - found.astype(int))
    assert difference.max() <= 1
    assert np.mean(difference != 0) < 0.002


def test_another_rounding_mode_is_detected(
    in_ort: Runtime,
    random_operand: Operand,
) -> None:
    """Negative control: half away from zero instead of half to even is seen by the comparison."""
    rng = np.random.default_rng(0)
    x = random_operand(rng, (4, 64), U8_AFFINE, 0.5)
    weight = QuantizedOperand(
        (2 * rng.integers(-9, 9, (64, 8)) + 1).astype(np.int8),
        QParams(np.asarray(0.25, np.float32), np.asarray(0, np.int64), S8_SYMMETRIC),
    )
    output = QParams(np.asarray(32.0, np.float32), np.asarray(128, np.int64), U8_AFFINE)
    case = Case(("MatMul", {}, [x], weight, None, output))
    wanted, found, _ = case.outcomes(in_ort)
    np.testing.assert_array_equal(wanted, found)
    sums = x.centred @ weight.centred / 256.0
    away = np.clip(np.sign(sums) * np.floor(np.abs(sums) + 0.5) + 128, 0, 255)
    assert np.any(away != found)


def test_a_float_bias_becomes_accumulator_steps(
    random_params: Params,
    random_operand: Operand,
) -> None:
    rng = np.random.default_rng(4)
    weight = _weight(rng, (6, 4), 1)
    x = random_operand(rng, (3, 6), U8_AFFINE, 0.02)
    bias = rng.standard_normal(4).astype(np.float32)
    whole = quantize_bias(bias, x.params.scale, weight.params.scale)
    output = random_params(rng, U8_AFFINE, 0.1)
    given = reference("Gemm", {}, [x], weight, whole, output)
    np.testing.assert_array_equal(reference("Gemm", {}, [x], weight, bias, output), given)
