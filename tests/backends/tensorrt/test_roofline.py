"""The roofline model: its arithmetic by hand, what is fused, and what the search makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import qcompiler as qc
from benchmarks.tensorrt_net import Net
from qcompiler.backends.tensorrt.gpus import GPUS, Gpu
from qcompiler.backends.tensorrt.roofline import LAUNCH_SECONDS, Roofline, modelled
from qcompiler.backends.tensorrt.target import TensorRT
from qcompiler.errors import ConfigurationError
from qcompiler.frontends import load
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline

A10 = TensorRT(stand_in="onnxruntime")
Shape = tuple[int, ...]
BANDWIDTH, TF32, INT8 = 600e9, 62.5e12, 250e12
"""Of the A10, per second, from its data sheet."""


def _convolutions(shape: Shape, *widths: int, kernel: int = 3) -> onnx.ModelProto:
    """Convolutions of equal padding, one behind the other."""
    net = Net()
    x, channels = net.input(shape), shape[1]
    for width in widths:
        weight = net.random.normal(0, 0.05, (width, channels, kernel, kernel))
        pads = [kernel // 2] * 4
        x = net.add("Conv", x, net.const(weight.astype(np.float32)), pads=pads)
        channels = width
    return net.model(x)


def _feed(shape: Shape, seed: int = 0) -> dict[str, Any]:
    return {"x": np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)}


def _placed(model: onnx.ModelProto, feed: dict[str, Any], target: TensorRT) -> Program:
    program = load(model)
    text = "canonicalize,dead-code,insert-observers,calibrate,"
    text += "assign-precision{scheme=int8},resolve-placement,"
    Pipeline.parse(text + target.placement).run(program, PassContext(target, [feed]))
    return program


def _model(target: TensorRT) -> Roofline:
    assert target.roofline is not None
    return target.roofline


def test_a_float_kernel_by_hand() -> None:
    """2 * N*K*H*W * C*R*S operations at the TF32 rate; every operand, weight and result moved."""
    shape = (1, 64, 56, 56)
    sample = modelled(load(_convolutions(shape, 128)), A10, _model(A10), _feed(shape))
    operations = 2 * 128 * 56 * 56 * 64 * 9
    moved = 4 * (64 * 56 * 56 + 128 * 64 * 9 + 128 * 56 * 56)
    wanted = max(operations / TF32, moved / BANDWIDTH) + LAUNCH_SECONDS
    assert list(sample.regions.values()) == [pytest.approx(wanted, rel=1e-9)]
    assert (sample.conversions, sample.other) == (0.0, 0.0)


def test_an_int8_chain_by_hand() -> None:
    """The Q between two convolutions is fused; the one on the graph's input is a kernel."""
    shape = (1, 64, 56, 56)
    feed = _feed(shape)
    program = _placed(_convolutions(shape, 64, 64), feed, A10)
    sample = modelled(program, A10, _model(A10), feed)
    values, weights, operations = 64 * 56 * 56, 64 * 64 * 9, 2 * 64 * 56 * 56 * 64 * 9
    first = max(operations / INT8, (2 * values + weights) / BANDWIDTH) + LAUNCH_SECONDS
    last = max(operations / INT8, (5 * values + weights) / BANDWIDTH) + LAUNCH_SECONDS
    assert list(sample.regions.values()) == [pytest.approx(first), pytest.approx(last)]
    assert sample.conversions == pytest.approx(5 * values / BANDWIDTH + LAUNCH_SECONDS)


def test_a_q_behind_a_mover_moves_back_to_the_kernel_that_computes() -> None:
    """Conv -> Transpose -> Conv in int8: the Q on the graph's input is the only kernel of a Q."""
    shape = (1, 64, 56, 56)
    net = Net()
    weights = [net.const(net.random.normal(0, 0.05, (64, 64, 1, 1)).astype(np.float32))] * 2
    moved = net.add("Transpose", net.conv(net.input(shape), weights[0]), perm=[0, 1, 3, 2])
    feed = _feed(shape)
    program = _placed(net.model(net.conv(moved, weights[1])), feed, A10)
    sample = modelled(program, A10, _model(A10), feed)
    values = 64 * 56 * 56
    assert sample.conversions == pytest.approx(5 * values / BANDWIDTH + LAUNCH_SECONDS)
    first, transposed, _ = sample.regions.values()
    operations = 2 * 64 * 56 * 56 * 64
    written = max(operations / INT8, (2 * values + 64 * 64) / BANDWIDTH) + LAUNCH_SECONDS
    assert first == pytest.approx(written)
    assert transposed == pytest.approx(2 * values / BANDWIDTH + LAUNCH_SECONDS)


@pytest.mark.parametrize(("dims", "rows"), [((1, 8, 32), 8), ((4, 8, 32), 32)])
def test_a_product_counts_its_reduction_axis(dims: Shape, rows: int) -> None:
    net = Net()
    weight = net.const(np.ones((32, 4096), np.float32))
    program = load(net.model(net.add("MatMul", net.input(("n", 8, 32)), weight)))
    fast = Roofline(Gpu("endless memory", 1, 1, 1, 1, 0, 1e12, "none"))
    sample = modelled(program, A10, fast, _feed(dims))
    (seconds,) = sample.regions.values()
    assert seconds == pytest.approx(2 * rows * 32 * 4096 / 1e12 + LAUNCH_SECONDS, rel=1e-3)


def test_a_residual_network_gains_from_int8_in_every_type(
    residual_net: onnx.ModelProto, feed: Callable[..., dict[str, Any]]
) -> None:
    x = feed(residual_net, 0)
    program = _placed(residual_net, x, A10)
    for capability, gpu in GPUS.items():
        model = Roofline(gpu)
        quantized = modelled(program, A10, model, x)
        plain = modelled(load(residual_net), A10, model, x)
        assert 0 < quantized.total - quantized.conversions < plain.total, capability


def test_auto_stays_float_where_int8_does_not_pay() -> None:
    """One thin convolution: the memory is the limit, and quantizing its input a further kernel."""
    shape = (1, 3, 64, 64)
    compiled = qc.compile(_convolutions(shape, 8), A10, [_feed(shape, i) for i in range(4)])
    assert compiled.report.counts() == {"float32": 1}
    assert "nothing that a roofline model of SM 86 (A10) knows of was better" in (
        compiled.report.summary
    )


def test_auto_takes_int8_where_it_pays() -> None:
    shape = (1, 256, 32, 32)
    feeds = [_feed(shape, i) for i in range(4)]
    compiled = qc.compile(_convolutions(shape, 256, 256, 256), A10, feeds, max_loss=0.05)
    assert compiled.report.counts() == {"int8": 3}
    assert "by a roofline model of SM 86 (A10)" in compiled.report.summary
    figure = compiled.report.figure("modelled latency")
    assert figure is not None
    assert figure.float_value > figure.compiled_value
    assert compiled.report.figure("latency") is None
    rules = {each.rule: each.message for each in compiled.report.diagnostics}
    assert "nothing was timed" in rules["TIME00"]
    assert all("(modelled)" in row.reason for row in compiled.report.regions)


def test_auto_is_bounded_by_measured_loss() -> None:
    """Within no loss at all only float is left, however much faster int8 is in the model."""
    shape = (1, 256, 32, 32)
    feeds = [_feed(shape, i) for i in range(4)]
    compiled = qc.compile(_convolutions(shape, 256, 256), A10, feeds, max_loss=1e-9)
    assert compiled.report.counts() == {"float32": 2}


def test_without_a_model_auto_is_the_targets_own_precision() -> None:
    target = TensorRT(compute_capability=87, stand_in="onnxruntime")
    assert target.evidence.model is None
    assert target.conversion_cost() is None
    shape = (1, 3, 64, 64)
    compiled = qc.compile(_convolutions(shape, 8), target, [_feed(shape)])
    assert compiled.report.counts() == {"int8": 1}
    assert [each.name for each in compiled.report.figures] == ["size"]


@pytest.mark.parametrize("capability", GPUS)
def test_every_gpu_names_its_source_and_is_faster_in_fewer_bits(capability: int) -> None:
    gpu = GPUS[capability]
    assert "NVIDIA" in gpu.source
    assert gpu.fp32 <= max(gpu.tf32, gpu.fp32) <= gpu.fp16 < gpu.int8
    assert (gpu.fp8 > 0) is (capability >= 89)
    assert (gpu.tf32 > 0) is (capability >= 80)


def test_a_gpu_without_bandwidth_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        Gpu("none", 1, 1, 1, 1, 1, 0, "none")


def test_what_gains_nothing_by_the_model_stays_float() -> None:
    """Four weights: the launch of the kernel is all there is, in int8 as in float."""
    source = from_text("g (float[2,4] x) => (float[2,4] y) <float[4,4] w> { y = MatMul(x, w) }")
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((2, 4)).astype(np.float32)} for _ in range(4)]
    compiled = qc.compile(source, "tensorrt", feeds, recipe="fast")
    assert set(compiled.plan.precisions.values()) == {"float32"}
