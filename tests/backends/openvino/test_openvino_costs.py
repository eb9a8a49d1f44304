"""OpenVINO's counters as costs of regions, and the operators that it runs in u8."""

from __future__ import annotations

import time

import numpy as np
import pytest

import qcompiler as qc
from benchmarks.tensorrt_net import Net, Recipe, image
from qcompiler.backends.openvino.costs import cost_sample
from qcompiler.backends.openvino.target import OpenVino
from qcompiler.execution.openvino.session import LayerTime, RuntimeLayer, available
from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.program import Program
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline

needs_openvino = pytest.mark.skipif(
    not available(), reason="openvino is not installed: qcompiler[openvino]"
)
FEEDS = [
    {"x": np.random.default_rng(seed).normal(0, 1, (1, 16, 12, 12)).astype(np.float32)}
    for seed in range(4)
]


def _weight(net: Net, *shape: int) -> str:
    return net.const(net.random.normal(0, 0.1, shape).astype(np.float32))


def _conv(net: Net, x: str) -> str:
    return net.add("Relu", net.conv(x, _weight(net, 16, 16, 3, 3), 16, pads=[1] * 4))


def _gated(net: Net) -> str:
    """Two branches joined by Mul and Add, then a convolution that reads the sum."""
    left, right = _conv(net, "x"), _conv(net, "x")
    product = net.add("Mul", left, net.add("Sigmoid", right))
    return _conv(net, net.add("Add", product, net.add("Tanh", right)))


def _transposed(net: Net) -> str:
    return net.add("ConvTranspose", _conv(net, "x"), _weight(net, 16, 8, 2, 2), strides=[2, 2])


def _placed(recipe: Recipe) -> Program:
    program, target = load(image(recipe)), OpenVino()
    text = "canonicalize,dead-code,insert-observers,calibrate,"
    text += "assign-precision{scheme=int8},resolve-placement,"
    Pipeline.parse(text + target.placement).run(program, PassContext(target, FEEDS))
    return program


def _layer(kind: str, *origins: str) -> RuntimeLayer:
    return RuntimeLayer(kind, "u8", origins)


def test_layers_go_to_the_first_region_they_were_made_from() -> None:
    program = load(image(_gated))
    regions = OpenVino().regions(program)
    first, second = [region for region in regions if region.kind == "Conv"][:2]
    times = [
        LayerTime(_layer("Convolution", f"{first.key}/WithoutBiases", second.key), 1.0),
        LayerTime(_layer("Convolution", f"{second.key}_original"), 2.0),
        LayerTime(_layer("Reorder"), 4.0),
        LayerTime(_layer("Eltwise", "v_dequantized_DequantizeLinear"), 8.0),
        LayerTime(_layer("Math", "somebody"), 16.0),
    ]
    sample = cost_sample(regions, times)
    assert dict(sample.regions) == {first.key: 1.0, second.key: 2.0}
    assert (sample.conversions, sample.other) == (12.0, 16.0)


@needs_openvino
def test_profile_names_every_convolution_and_stays_below_the_wall_clock() -> None:
    artifact = OpenVino(threads=1).lower(_placed(_gated))
    started = time.perf_counter()
    sample = artifact.profile(FEEDS)
    elapsed = time.perf_counter() - started
    convolutions = [key for key in sample.regions if key.startswith("conv")]
    assert len(convolutions) == 3
    assert all(seconds > 0 for seconds in (sample.regions[key] for key in convolutions))
    # One thread runs the layers of every feed in that time, however busy the machine is.
    assert 0 < sample.total < elapsed


@needs_openvino
@pytest.mark.parametrize(
    ("recipe", "op", "count"),
    [(_gated, "Convolution:u8", 3), (_transposed, "Deconvolution:u8", 1)],
)
def test_layers_around_elementwise_ops_run_in_u8(recipe: Recipe, op: str, count: int) -> None:
    placed = _placed(recipe)
    artifact = OpenVino(threads=1).lower(placed)
    assert artifact.kernels().ops[op] == count
    assert artifact.kernels().missed == {}
    found = artifact.run(FEEDS[0])[0]
    wanted = OrtSession(placed.model, optimize=False).run(FEEDS[0])[0]
    assert ((found - wanted) ** 2).sum() < 3e-3 * (wanted**2).sum()


@needs_openvino
def test_auto_searches_by_profiles() -> None:
    compiled = qc.compile(image(_gated), OpenVino(threads=1), FEEDS, max_loss=0.02, recipe="fast")
    assert any("ms" in line for line in compiled.log)
    assert compiled.frontier[0].seconds is not None
    assert "float is returned" in compiled.report.summary or "x" in compiled.report.summary
