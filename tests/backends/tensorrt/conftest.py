from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.tensorrt_net import KERNEL, Net, Recipe, image, rows
from qcompiler.frontends import load
from qcompiler.ir.program import Program
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.target.contract import Target


@pytest.fixture
def conv_net() -> Callable[..., onnx.ModelProto]:
    """Builds Q/DQ -> Conv with keyword changes to the activation's and the weight's Q/DQ."""

    def build(
        activation: dict[str, Any] | None = None, weight: dict[str, Any] | None = None
    ) -> onnx.ModelProto:
        def recipe(net: Net) -> str:
            x = net.quantize("x", **(activation or {}))
            return net.conv(x, net.weight(KERNEL, **(weight or {})), 16)

        chosen: Recipe = recipe
        return image(chosen)

    return build


def _normal(net: Net, *shape: int) -> str:
    return net.const(net.random.normal(0, 0.1, shape).astype(np.float32), "w")


def _residual(net: Net) -> str:
    """Conv, pool, residual blocks (identity and projected), concat, pool, flatten, gemm."""
    x = net.add("Relu", net.conv("x", _normal(net, 16, 16, 3, 3), 16, pads=[1, 1, 1, 1]))
    x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = net.conv(x, _normal(net, 16, 16, 3, 3), 16, pads=[1, 1, 1, 1])
    x = net.add("Relu", net.add("Add", y, x))
    left = net.conv(x, _normal(net, 16, 16, 1, 1), 16)
    right = net.conv(x, _normal(net, 16, 16, 1, 1), 16)
    x = net.add("Relu", net.add("Add", left, right))
    parts = [net.add("Relu", net.conv(x, _normal(net, 16, 16, 1, 1), 16)) for _ in range(2)]
    x = net.conv(net.add("Concat", *parts, axis=1), _normal(net, 16, 32, 1, 1), 16)
    x = net.add("Flatten", net.add("GlobalAveragePool", net.add("Relu", x)), axis=1)
    return net.add("Gemm", x, _normal(net, 8, 16), net.const(np.ones(8, np.float32)), transB=1)


def _attention(net: Net) -> str:
    """One attention block: three projections, Q.K, softmax, P.V, layer norm, product."""
    q, k, v = (net.add("MatMul", "x", _normal(net, 64, 64)) for _ in range(3))
    scores = net.add("MatMul", q, net.add("Transpose", k, perm=[1, 0]))
    mixed = net.add("MatMul", net.add("Softmax", scores, axis=-1), v)
    x = net.add("LayerNormalization", mixed, net.const(np.ones(64, np.float32)), axis=-1)
    return net.add("MatMul", x, _normal(net, 64, 32))


@pytest.fixture
def residual_net() -> onnx.ModelProto:
    return image(_residual)


@pytest.fixture
def attention_net() -> onnx.ModelProto:
    return rows(_attention)


@pytest.fixture
def wide_net() -> onnx.ModelProto:
    """Two products with 256 inputs, for blocks of 64 and 128."""
    net = Net()
    net.input((8, 256))
    y = net.add("Relu", net.add("MatMul", "x", _normal(net, 256, 256)))
    return net.model(net.add("Gemm", y, _normal(net, 32, 256), transB=1))


@pytest.fixture
def feed() -> Callable[[onnx.ModelProto], dict[str, Any]]:
    """A random feed for a model's only input; the same seed each time."""

    def make(model: onnx.ModelProto, seed: int = 0) -> dict[str, Any]:
        value = model.graph.input[0]
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        x = np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
        return {value.name: x}

    return make


@pytest.fixture
def place(feed: Callable[..., dict[str, Any]]) -> Callable[..., tuple[Program, Program]]:
    """(float program, placed program) of a model for a target, calibrated on random feeds."""

    def run(
        model: onnx.ModelProto, target: Target, scheme: str = "int8"
    ) -> tuple[Program, Program]:
        program = load(model)
        context = PassContext(target, [feed(model, seed) for seed in range(6)])
        Pipeline.parse("canonicalize,fuse-conv-bn,dead-code").run(program, context)
        float_program = program.clone()
        text = f"insert-observers,calibrate,assign-precision{{scheme={scheme}}},resolve-placement,"
        Pipeline.parse(text + target.placement).run(program, context)
        return float_program, program

    return run
