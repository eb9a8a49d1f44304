"""BatchNormalization as a depthwise convolution: what comes out, and what stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qcompiler.execution.session import OrtSession
from qcompiler.frontends.inference import infer_types
from qcompiler.ir.text import from_text
from qcompiler.passes.latency.batch_norms import ConvolveBatchNorm
from qcompiler.pipeline.contract import PassContext
from tests.oracle import compile_int8, normal_feed, unoptimized

Rewrite = Callable[..., Any]
CHANNELS = 6


def stored(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    names = ("scale", "bias", "mean", "variance")
    drawn = {name: rng.normal(0, 1, CHANNELS).astype(np.float32) for name in names}
    drawn["variance"] = np.square(drawn["variance"]) + np.float32(0.1)
    return drawn


def net(dims: str, attributes: str = "") -> str:
    ends = ", ".join("CDEF"[: dims.count(",")])
    declared = ", ".join(f"float[{CHANNELS}] {name}" for name in stored())
    return f"""g (float[{dims}] x) => (float[N, {ends}] y) <{declared}> {{
        b = BatchNormalization{attributes}(x, scale, bias, mean, variance)
        y = Relu(b)
    }}"""


@pytest.mark.parametrize("dims", [f"2,{CHANNELS},5", f"3,{CHANNELS},4,5", f"n,{CHANNELS},h,w"])
@pytest.mark.parametrize("attributes", ["", "<epsilon = 0.25>"])
def test_signals_and_images(dims: str, attributes: str, rewrite: Rewrite) -> None:
    """The fixture compares with the program before, in float."""
    found = rewrite(net(dims, attributes), ConvolveBatchNorm(), weights=stored())
    assert found.ops == ("Conv", "Relu")


def test_the_order_of_channels_is_kept(rewrite: Rewrite) -> None:
    """The negative control of the comparison: weights of other channels are found."""
    turned = {name: each[::-1].copy() for name, each in stored().items()}
    one = rewrite(net(f"2,{CHANNELS},5"), ConvolveBatchNorm(), weights=stored()).program
    other = rewrite(net(f"2,{CHANNELS},5"), ConvolveBatchNorm(), weights=turned).program
    feed = normal_feed(0, x=(2, CHANNELS, 5))
    assert not np.allclose(unoptimized(one, feed)[0], unoptimized(other, feed)[0])


@pytest.mark.parametrize("dims", [f"2,{CHANNELS}", f"1,{CHANNELS},3,3,3"])
def test_other_ranks_stay(dims: str, rewrite: Rewrite) -> None:
    found = rewrite(net(dims), ConvolveBatchNorm(), weights=stored())
    assert found.ops == ("BatchNormalization", "Relu")


def test_statistics_that_are_computed_stay(rewrite: Rewrite) -> None:
    text = net(f"2,{CHANNELS},5").replace(") =>", f", float[{CHANNELS}] scale) =>")
    text = text.replace(
        f"float[{CHANNELS}] scale, float[{CHANNELS}] bias", f"float[{CHANNELS}] bias"
    )
    weights = {name: each for name, each in stored().items() if name != "scale"}
    assert "Conv" not in rewrite(text, ConvolveBatchNorm(), weights=weights).ops


def test_behind_a_relu_it_leaves_no_float_between_integers() -> None:
    """The engine's own graph: three convolutions on integers, and nothing in float between them."""
    declared = ", ".join(f"float[{CHANNELS}] {name}" for name in stored())
    text = f"""g (float[1,3,16,16] x) => (float[n,c,h,w] y) <float[{CHANNELS},3,3,3] u,
    float[{CHANNELS},{CHANNELS},3,3] v, {declared}> {{
        a = Conv(x, u)
        r = Relu(a)
        b = BatchNormalization(r, scale, bias, mean, variance)
        y = Conv<pads = [1,1,1,1]>(b, v)
    }}"""
    program = from_text(text, stored())
    infer_types(program.model)
    ConvolveBatchNorm().run(program, PassContext())
    compiled = compile_int8(program, [normal_feed(seed, x=(1, 3, 16, 16)) for seed in range(3)])
    compiled.verify().require()
    graph = OrtSession(compiled.program.model, threads=1).optimized_model().graph
    ops = [node.op_type for node in graph]
    assert ops.count("QLinearConv") == 3
    assert ops.count("QuantizeLinear") == ops.count("DequantizeLinear") == 1
