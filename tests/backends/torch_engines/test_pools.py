"""Pools and clamps on integers, over one to three axes, against float pools of the integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.kernels.island import Setting
from qcompiler.backends.torch_engines.lowering import lower
from qcompiler.pipeline import registry

ENGINES = adapter.available_engines()
SCALE, ZERO = 0.02, 120
SIZES = {1: (2, 4, 17), 2: (2, 4, 10, 9), 3: (2, 4, 7, 8, 6)}
MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
WINDOWS: dict[str, tuple[int, dict[str, Any]]] = {
    # kernel side, torch's options
    "plain": (2, {"stride": 2}),
    "padded": (3, {"stride": 2, "padding": 1}),
    "ceil": (3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    "dilated": (2, {"stride": 1, "dilation": 2}),
}


def attributes(spatial: int, side: int, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "kernel_shape": [side] * spatial,
        "strides": [options["stride"]] * spatial,
        "pads": [options.get("padding", 0)] * 2 * spatial,
        "dilations": [options.get("dilation", 1)] * spatial,
        "ceil_mode": int(options.get("ceil_mode", False)),
    }


def run(g: Any, op: str, engine: str, q: Any, *operands: str, **given: Any) -> tuple[Any, Any]:
    """Integers that the op gives for the integers `q`, between Q/DQ of one scale; what ran."""
    x = g.input(list(q.shape))
    y = g.quantize(g.node(op, g.pair(x, SCALE, ZERO), *operands, **given), SCALE, ZERO)
    lowered = lower(g.program(y, dtype=2).model, Setting(engine))
    real = torch.from_numpy((q.astype(np.float32) - ZERO) * np.float32(SCALE))
    with adapter.engine_scope(engine), torch.no_grad():
        return lowered.module(real)[0].numpy(), lowered.kernels


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("window", list(WINDOWS))
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_max_pool(engine: str, window: str, spatial: int, qdq: Any, rng: Any) -> None:
    """Low integers: padding that stood for the real 0 (the integer 120) would win everywhere."""
    side, options = WINDOWS[window]
    q = rng.integers(0, 100, SIZES[spatial]).astype(np.uint8)
    got, kernels = run(qdq(), "MaxPool", engine, q, **attributes(spatial, side, options))
    expected = MAX[spatial](torch.from_numpy(q.astype(np.float32)), side, **options)
    np.testing.assert_array_equal(got, expected.numpy())
    assert bool(kernels.integer) == (engine != "qnnpack" or spatial < 3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("window", ["plain", "padded", "ceil"])
@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("counted", [True, False])
def test_average_pool(
    engine: str, window: str, spatial: int, counted: bool, qdq: Any, rng: Any
) -> None:
    side, options = WINDOWS[window]
    q = rng.integers(0, 256, SIZES[spatial]).astype(np.uint8)
    given = attributes(spatial, side, options) | {"count_include_pad": int(counted)}
    del given["dilations"]
    got, kernels = run(qdq(), "AveragePool", engine, q, **given)
    centred = torch.from_numpy(q.astype(np.float64) - ZERO)
    mean = AVERAGE[spatial](centred, side, count_include_pad=counted, **options).numpy()
    assert len(kernels.integer) == 1
    apart = np.abs(got.astype(np.float64) - ZERO - mean)
    assert apart.max() <= 0.5 + 1e-3, "the nearest integer; ties either way"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_global_average(engine: str, spatial: int, qdq: Any, rng: Any) -> None:
    q = rng.integers(0, 256, SIZES[spatial]).astype(np.uint8)
    got, kernels = run(qdq(), "GlobalAveragePool", engine, q)
    mean = q.astype(np.float64).mean(tuple(range(2, 2 + spatial)), keepdims=True)
    assert len(kernels.integer) == 1
    assert np.abs(got - mean).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("op", ["AveragePool", "GlobalAveragePool", "ReduceMean"])
def test_a_mean_keeps_its_bits(op: str, qdq: Any, rng: Any) -> None:
    """Means of noise have a tenth of its range: in levels of their own no bit is lost."""
    q = rng.integers(0, 256, (2, 4, 12, 12)).astype(np.uint8)
    g = qdq()
    x = g.pair(g.input(list(q.shape)), SCALE, ZERO)
    operands = [g.constant(np.array([2, 3], np.int64))] if op == "ReduceMean" else []
    options = {"kernel_shape": [12, 12]} if op == "AveragePool" else {}
    y = g.quantize(g.node(op, x, *operands, **options), SCALE / 16, ZERO)
    lowered = lower(g.program(y, dtype=2).model, Setting("fbgemm"))
    real = torch.from_numpy((q.astype(np.float32) - ZERO) * np.float32(SCALE))
    with adapter.engine_scope("fbgemm"), torch.no_grad():
        got = lowered.module(real)[0].numpy()
    mean = (q.astype(np.float64) - ZERO).mean((2, 3), keepdims=True) * 16 + ZERO
    assert lowered.kernels.missed == {}
    assert np.abs(got - np.clip(mean, 0, 255)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("low", "high"), [(-0.3, 0.5), (-0.3, None), (None, 0.5), (None, None)])
def test_clip(engine: str, low: float | None, high: float | None, qdq: Any, rng: Any) -> None:
    q = rng.integers(0, 256, (2, 4, 5, 5)).astype(np.uint8)
    g = qdq()
    ends = [g.constant(np.float32(end)) if end is not None else "" for end in (low, high)]
    got, kernels = run(g, "Clip", engine, q, *ends)
    first = 0 if low is None else ZERO + round(low / SCALE)
    last = 255 if high is None else ZERO + round(high / SCALE)
    np.testing.assert_array_equal(got, np.clip(q, first, last))
    assert len(kernels.integer) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_uneven_pads_in_three_dimensions_behind_a_convolution(
    engine: str, qdq: Any, rng: Any
) -> None:
    """A convolution leaves another layout, which torch's quantized pad refuses in 3-D."""
    first, second = (rng.integers(-127, 128, (4, 4, 2, 2, 2)).astype(np.int8) for _ in range(2))
    g = qdq()
    x = g.pair(g.input([1, 4, 6, 6, 6]), SCALE, ZERO)
    y = g.pair(g.node("Conv", x, g.weight(first, np.float32(0.001))), SCALE, ZERO)
    y = g.node("Conv", y, g.weight(second, np.float32(0.001)), pads=[0, 1, 0, 1, 1, 1])
    lowered = lower(g.program(g.quantize(y, SCALE, ZERO), dtype=2).model, Setting(engine))
    q = rng.integers(0, 256, (1, 4, 6, 6, 6)).astype(np.float64)
    x_real = torch.from_numpy(((q - ZERO) * SCALE).astype(np.float32))
    with adapter.engine_scope(engine), torch.no_grad():
        got = lowered.module(x_real)[0].numpy()
    assert len(lowered.kernels.integer) == 2
    steps = torch.from_numpy(q - ZERO)
    for weight, pads in ((first, [0] * 6), (second, [0, 1, 1, 1, 0, 1])):
        padded = functional.pad(steps, pads)
        sums = functional.conv3d(padded, torch.from_numpy(weight.astype(np.float64)))
        steps = (sums * 0.001).round().clamp(-ZERO, 255 - ZERO)
    difference = np.abs(got.astype(np.float64) - ZERO - steps.numpy())
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 0.01


def test_qnnpack_leaves_in_float_what_it_has_no_kernel_for() -> None:
    target = registry.find_target("qnnpack")()
    row = target.capabilities.row("MaxPool")
    assert row is not None
    assert "TQ18" in {each.name for each in row.constraints}
