"""Elementwise, joining and pooling references against ONNX Runtime, bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.execution.integer.operand import QuantizedOperand
from qcompiler.execution.integer.reference import reference
from qcompiler.quantization.numerics import dequantize, quantize
from qcompiler.quantization.qspace import (
    S8_AFFINE,
    U8_AFFINE,
    QParams,
    QSpace,
)

Array = npt.NDArray[Any]
Runtime = Callable[..., tuple[Array, list[str]]]
Params = Callable[..., QParams]
Operand = Callable[..., QuantizedOperand]
Arguments = tuple[Any, ...]
SPACES = pytest.mark.parametrize("space", [U8_AFFINE, S8_AFFINE], ids=["u8", "s8"])


BROADCASTS = [
    ((2, 30, 41), (2, 30, 41)),
    ((2, 30, 41), (1, 30, 1)),
    ((1, 30, 1), (2, 30, 41)),
    ((2, 3, 8, 8), (2, 3, 1, 1)),
    ((2, 3, 1, 1), (2, 3, 8, 8)),
    ((7, 41), (41,)),
]


@SPACES
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
def test_add_and_mul_are_bit_equal_with_ties(
    op: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    space: QSpace,
    in_ort: Runtime,
    random_params: Params,
    random_operand: Operand,
) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        first = random_operand(rng, shapes[0], space)
        step = float(first.params.scale) * float(rng.choice([0.25, 0.5, 1.0, 0.77]))
        second = random_operand(rng, shapes[1], space, step)
        product = float(first.params.scale * second.params.scale) * 64.0
        wanted = 2.0 * float(first.params.scale) if op == "Add" else product
        case: Arguments = (op, {}, [first, second], None, None, random_params(rng, space, wanted))
        found, ops = in_ort(*case)
        assert f"QLinear{op}" in ops
        np.testing.assert_array_equal(reference(*case), found)


@SPACES
def test_concat_is_bit_equal(
    space: QSpace, in_ort: Runtime, random_params: Params, random_operand: Operand
) -> None:
    rng = np.random.default_rng(1)
    parts = [random_operand(rng, (2, n, 6), space, s) for n, s in ((3, 0.01), (4, 0.5), (1, 0.02))]
    case: Arguments = ("Concat", {"axis": 1}, parts, None, None, random_params(rng, space, 0.04))
    found, ops = in_ort(*case)
    assert "QLinearConcat" in ops
    np.testing.assert_array_equal(reference(*case), found)


TABLES: list[tuple[str, dict[str, Any], float | None]] = [
    ("Sigmoid", {}, 1 / 256),
    ("Sigmoid", {}, 1 / 255),
    ("LeakyRelu", {"alpha": 0.1}, None),
    ("LeakyRelu", {"alpha": 0.25}, None),
]


@SPACES
@pytest.mark.parametrize(("op", "attributes", "scale"), TABLES)
def test_tables_are_bit_equal(
    op: str,
    attributes: dict[str, Any],
    scale: float | None,
    space: QSpace,
    in_ort: Runtime,
    random_params: Params,
    random_operand: Operand,
) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = random_operand(rng, (4, 256), space)
        output = random_params(rng, space, float(x.params.scale) / 2 if scale is None else scale)
        case: Arguments = (op, attributes, [x], None, None, output)
        found, ops = in_ort(*case)
        assert f"QLinear{op}" in ops
        np.testing.assert_array_equal(reference(*case), found)


@SPACES
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("scale", [1 / 256, 1 / 255, 1 / 100])
def test_softmax_is_bit_equal(
    axis: int, scale: float, space: QSpace, in_ort: Runtime, random_operand: Operand
) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x = random_operand(rng, (2, 12, 40), space, float(10 ** rng.uniform(-2.5, -0.5)))
        bottom = np.asarray(space.qmin, np.int64)
        output = QParams(np.asarray(scale, np.float32), bottom, space)
        case: Arguments = ("Softmax", {"axis": axis}, [x], None, None, output)
        found, ops = in_ort(*case)
        assert "QLinearSoftmax" in ops
        np.testing.assert_array_equal(reference(*case), found)


POOLS: list[tuple[str, dict[str, Any]]] = [
    ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1}),
    ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("GlobalAveragePool", {}),
]


@SPACES
@pytest.mark.parametrize(("op", "attributes"), POOLS)
@pytest.mark.parametrize("factor", [1.0, 0.5, 2.0, 0.3])
def test_average_pools_are_bit_equal(
    op: str,
    attributes: dict[str, Any],
    factor: float,
    space: QSpace,
    in_ort: Runtime,
    random_params: Params,
    random_operand: Operand,
) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = random_operand(rng, (2, 5, 8, 10), space)
        case: Arguments = (
            op,
            attributes,
            [x],
            None,
            None,
            random_params(rng, space, float(x.params.scale) * factor),
        )
        found, ops = in_ort(*case)
        assert f"QLinear{op}" in ops
        np.testing.assert_array_equal(reference(*case), found)


@SPACES
@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [2, 3], "dilations": [2, 1], "ceil_mode": 1, "strides": [2, 2]},
    ],
)
def test_max_pool_runs_on_integers(
    attributes: dict[str, Any], space: QSpace, in_ort: Runtime, random_operand: Operand
) -> None:
    x = random_operand(np.random.default_rng(2), (2, 5, 9, 10), space)
    case: Arguments = ("MaxPool", attributes, [x], None, None, x.params)
    found, ops = in_ort(*case)
    assert "DequantizeLinear" not in ops
    np.testing.assert_array_equal(reference(*case), found)


def test_rounding_before_the_zero_point_is_detected(in_ort: Runtime) -> None:
    """Negative control: Q(DQ(a) + DQ(b)) is not what QLinearAdd computes on ties."""
    rng = np.random.default_rng(0)
    space = U8_AFFINE
    one = QParams(np.asarray(0.5, np.float32), np.asarray(3, np.int64), space)
    output = QParams(np.asarray(1.0, np.float32), np.asarray(5, np.int64), space)
    data = [rng.integers(0, 100, (50, 40)).astype(np.uint8) for _ in range(2)]
    case: Arguments = (
        "Add",
        {},
        [QuantizedOperand(item, one) for item in data],
        None,
        None,
        output,
    )
    found, _ = in_ort(*case)
    np.testing.assert_array_equal(reference(*case), found)
    simulated = quantize(dequantize(data[0], one) + dequantize(data[1], one), output)
    assert np.any(simulated != found)
