"""What a report says of values: scales and losses against numpy's own arithmetic on the data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions.roundings import rounded
from qcompiler.outcome.distributions import (
    loss_of_activation,
    noise_of_weight,
    of_activation,
    of_weight,
    with_histograms,
)
from qcompiler.quantization.numerics import dequantize
from qcompiler.quantization.observers import MinMax, Mse
from qcompiler.quantization.parameters import choose_qparams
from qcompiler.quantization.qspace import S8_SYMMETRIC, U8_AFFINE, Granularity, Levels, QSpace
from qcompiler.report.report import Report

_CODEBOOK = QSpace(ir.DataType.UINT8, symmetric=True, bits=3, levels=Levels.CODEBOOK)


@pytest.mark.parametrize("reach", [1.0, 0.5])
def test_loss_of_an_activation_is_that_of_its_data(rng: np.random.Generator, reach: float) -> None:
    data = rng.normal(size=(4, 2000)).astype(np.float32)
    params = choose_qparams(reach * data.min(), reach * data.max(), U8_AFFINE)
    found = loss_of_activation(Mse.empty().update(data), params)
    scale, zero = float(params.scale), int(params.zero_point)
    steps = np.rint(data / scale) + zero
    exact = (np.clip(steps, 0, 255) - zero) * scale
    clipped = float(np.mean((steps < 0) | (steps > 255)))
    noise = float(np.sum((exact - data) ** 2) / np.sum(data**2))
    assert found.clipped is not None
    assert found.noise is not None
    # A bin is at most 1/8 of a step wide: few values change sides, and 2 % of the error is its own.
    assert found.clipped == pytest.approx(clipped, abs=2e-3)
    assert found.noise == pytest.approx(noise, rel=0.05)
    assert (clipped > 0) == (reach < 1)


def test_nothing_is_said_of_an_activation_without_a_histogram() -> None:
    seen = MinMax.empty().update(np.linspace(-1, 1, 100))
    params = choose_qparams(-1.0, 1.0, U8_AFFINE)
    found = loss_of_activation(seen, params)
    assert found.clipped is found.noise is None
    assert of_activation(seen) is None


def test_a_distribution_counts_all_of_the_data(rng: np.random.Generator) -> None:
    data = rng.normal(size=(3, 1000)).astype(np.float32)
    found = of_activation(Mse.empty().update(data))
    assert found is not None
    assert found.total == data.size
    assert (found.low, found.high) == (data.min(), data.max())
    wanted, _ = np.histogram(data, bins=len(found.counts), range=(found.low, found.high))
    # Values change sides within the finer bins of calibration only.
    assert np.abs(np.cumsum(found.counts) - np.cumsum(wanted)).max() < 0.02 * data.size


@pytest.mark.parametrize("shape", [(64, 300), (700, 30, 9), (4, 40_000)])
@pytest.mark.parametrize("granularity", [Granularity.TENSOR, Granularity.CHANNEL])
def test_noise_of_a_weight(
    rng: np.random.Generator, shape: tuple[int, ...], granularity: Granularity
) -> None:
    scales = rng.uniform(0.5, 2.0, (shape[0], *[1] * (len(shape) - 1)))
    weight = (rng.normal(size=shape) * scales).astype(np.float32)
    rounding = rounded(weight, S8_SYMMETRIC.with_granularity(granularity), 0)
    scale = rounding.params.scale
    scale = scale.reshape(-1, *[1] * (len(shape) - 1)) if scale.ndim else scale
    noise = (rounding.integers.astype(np.float64) * scale - weight) ** 2
    found = noise_of_weight(weight, rounding)
    # Large weights are sampled by channels, which differ by up to four times.
    wanted = noise.sum() / np.square(weight, dtype=np.float64).sum()
    assert found == pytest.approx(wanted, rel=1e-6 if weight.size <= 1 << 17 else 0.25)
    wrong = type(rounding)(rounding.params, np.roll(rounding.integers, 1, -1))
    worse = noise_of_weight(weight, wrong)
    assert worse is not None
    assert worse > 100 * wanted


@pytest.mark.parametrize("shape", [(64, 300), (640, 300), (30, 8, 700), (200_000,)])
@pytest.mark.parametrize(
    "space",
    [
        S8_SYMMETRIC.with_granularity(Granularity.GROUP, 32),
        _CODEBOOK,
        _CODEBOOK.with_granularity(Granularity.CHANNEL),
        _CODEBOOK.with_granularity(Granularity.GROUP, 16),
        replace(_CODEBOOK, levels=Levels.LOG2, granularity=Granularity.CHANNEL),
    ],
    ids=lambda each: each.name,
)
def test_noise_of_blocks_and_levels(
    rng: np.random.Generator, shape: tuple[int, ...], space: QSpace
) -> None:
    weight = rng.normal(size=shape).astype(np.float32)
    rounding = rounded(weight, space, 0)
    exact = (dequantize(rounding.integers, rounding.params) - weight).astype(np.float64)
    wanted = np.sum(exact**2) / np.square(weight, dtype=np.float64).sum()
    rel = 1e-6 if weight.size <= 1 << 17 else 0.1  # what one channel of 30 adds
    assert noise_of_weight(weight, rounding) == pytest.approx(wanted, rel=rel)


@pytest.mark.parametrize(
    "weight", [np.zeros(5), np.full(3, np.nan), np.ones((2, 70_000)), np.zeros(0)]
)
def test_odd_weights_have_a_distribution_or_none(weight: np.ndarray) -> None:
    found = of_weight(weight)
    assert (found is None) == (not np.isfinite(weight).any())
    if found is not None:
        assert found.low < found.high
        assert 0 < found.total <= weight.size


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> qc.Compiled:
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    net (float[N,3,8,8] x) => (float[N,4,6,6] y) <float[4,3,3,3] w, float[4] b> {
        c = Conv (x, w, b)
        r = Relu (c)
        y = Tanh (r)
    }
    """
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(1)
    del model.graph.initializer[:]
    for name, shape in (("w", (4, 3, 3, 3)), ("b", (4,))):
        array = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.save(model, path)
    feeds = [rng.normal(size=(2, 3, 8, 8)).astype(np.float32) for _ in range(4)]
    return qc.compile(path, calibration=feeds, scheme="int8")


def test_a_compiled_model_tells_scales_sizes_and_what_is_around(compiled: qc.Compiled) -> None:
    report = compiled.report
    assert Report.from_json(report.to_json()) == report
    conv = next(row for row in report.regions if row.ops.startswith("Conv"))
    assert not conv.is_float
    assert conv.float_nbytes == 4 * (108 + 4)
    assert conv.nbytes == 108 + 4 * 4 + 4 + 4 * 4  # integers, scales, zero points, bias
    assert conv.shape == "float[N,4,6,6]"
    values = {each.key: each for each in report.values}
    assert conv.weight is not None
    weight = values[conv.weight]
    assert (weight.kind, weight.type, weight.scale_count) == ("weight", "INT8", 4)
    placed = compiled.program.placement
    assert placed is not None
    rounding = placed.regions[conv.region].rounding
    assert rounding is not None
    assert weight.scales == (rounding.params.scale.min(), rounding.params.scale.max())
    (read,) = conv.reads
    assert values[read].low <= 0 <= values[read].high
    assert report.samples is not None
    assert report.samples.seen == 4
    assert report.environment["target"] == repr(OnnxRuntime())


def test_a_loaded_file_has_its_network(compiled: qc.Compiled, tmp_path: Path) -> None:
    again = qc.load_compiled(compiled.save(tmp_path / "out.onnx"))
    labels = [each.label for each in again.report.network.vertices]
    assert labels[0] == "input"
    assert labels[-1] == "output"
    assert "Tanh" in " ".join(labels)


def test_ranges_without_histograms_show_those_of_calibration(rng: np.random.Generator) -> None:
    data = rng.normal(size=(4, 100)).astype(np.float32)
    seen = Mse.empty().update(data)
    same, other = MinMax.empty().update(data), MinMax.empty().update(2 * data)
    found = with_histograms({"a": same, "b": other, "c": same}, {"a": seen, "b": seen})
    assert found["a"] is seen
    assert found["b"] is other  # calibrated anew: it saw something else
    assert found["c"] is same
