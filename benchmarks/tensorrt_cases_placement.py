"""Graphs about where Q/DQ stand, opsets, hardware, and random chains of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from benchmarks.tensorrt_net import FLOAT8, KERNEL, Case, Net, Recipe, image, rows

_UNARY: dict[str, dict[str, Any]] = {
    "Relu": {},
    "Sigmoid": {},
    "LeakyRelu": {"alpha": 0.1},
    "Tanh": {},
    "HardSwish": {},
    "MaxPool": {"kernel_shape": [2, 2]},
    "AveragePool": {"kernel_shape": [2, 2]},
    "Transpose": {"perm": [0, 1, 3, 2]},
    "Identity": {},
}


def placement() -> Iterator[Case]:
    """Which operands are quantized, and what stands between Q/DQ and the weighted op."""
    for name, recipe in _PLACEMENTS.items():
        yield Case(f"place-{name}", image(recipe))
    for op, attributes in _UNARY.items():
        for requantized in (False, True):
            for upstream in ("dq", "conv"):
                recipe = _after(op, attributes, requantized, upstream)
                yield Case(f"after-{upstream}-{op}-{'q' if requantized else 'bare'}", image(recipe))
    for name, recipe in _PRODUCTS.items():
        yield Case(f"place-{name}", rows(recipe))


def opsets() -> Iterator[Case]:
    """Opset headers, per tensor and per channel, float and quantized."""
    for opset in (10, 11, 13, 16, 19, 21, 23, 25):
        axis = 0 if opset >= 13 else None
        yield Case(
            f"opset-{opset}",
            image(lambda n, a=axis: n.conv(n.quantize("x"), n.weight(KERNEL, a)), opset),  # type: ignore[misc]
        )
    yield Case("opset-18-float8", _float8(18), 89)
    yield Case("opset-19-float8", _float8(19), 89)
    yield Case("opset-8-float", image(lambda n: n.conv("x", _float_weight(n)), 8))


def hardware() -> Iterator[Case]:
    """The same graphs for several compute capabilities, and a free batch dimension."""
    for capability in (75, 80, 86, 89, 120):
        yield Case(f"hw-conv-{capability}", image(_quantized_conv), capability)
        yield Case(f"hw-matmul-{capability}", rows(_quantized_matmul), capability)
        yield Case(f"hw-float8-{capability}", _float8(21), capability)
    net = Net()
    net.input(("batch", 16, 12, 12))
    yield Case("hw-dynamic-batch", net.model(_quantized_conv(net)))
    for op in ("MaxPool", "Transpose", "Relu"):
        yield Case(f"hw-float8-after-{op}", image(_float8_conv(op)), 89)


def random_chains(count: int = 40) -> Iterator[Case]:
    """Chains of layers, each quantized wholly, partly or not at all, at random."""
    for seed in range(count):
        yield Case(f"random-{seed}", _chain(seed))


def _chain(seed: int) -> onnx.ModelProto:
    net = Net(seed=seed)
    net.input((1, 16, 16, 16))
    x = "x"
    for _ in range(int(net.random.integers(2, 6))):
        x = _layer(net, x)
        if net.random.random() < 0.3:
            op = str(net.random.choice(["Relu", "MaxPool", "Sigmoid", "Transpose"]))
            x = net.add(op, x, **_UNARY[op])
    return net.model(x)


def _layer(net: Net, x: str) -> str:
    """A Conv whose activation, weight and bias are each drawn at random; sometimes residual."""
    draw = net.random.random(6)
    operand = x
    if draw[0] < 0.75:
        operand = net.quantize(x, np.full(1 if draw[3] < 0.15 else (), 0.02, np.float32))
    axis = 0 if draw[4] < 0.85 else 1
    weight = net.weight(KERNEL, axis) if draw[1] < 0.85 else _float_weight(net)
    y = net.conv(operand, weight, 16 if draw[2] < 0.5 else 0, pads=[1, 1, 1, 1])
    return net.add("Add", y, operand) if draw[5] < 0.3 else y


def _float_weight(net: Net) -> str:
    return net.const(net.random.normal(0, 0.1, KERNEL).astype(np.float32), "w")


def _quantized_conv(net: Net) -> str:
    return net.conv(net.quantize("x"), net.weight(KERNEL), 16)


def _float8_conv(op: str) -> Recipe:
    def recipe(net: Net) -> str:
        y = net.add(op, net.quantize("x", zero=np.asarray(0, FLOAT8)), **_UNARY[op])
        return net.conv(y, net.weight(KERNEL, 0, FLOAT8))

    return recipe


def _quantized_matmul(net: Net) -> str:
    return net.add("MatMul", net.quantize("x"), net.weight((64, 32), 1))


def _after(op: str, attributes: dict[str, Any], requantized: bool, upstream: str) -> Recipe:
    def recipe(net: Net) -> str:
        x = net.quantize("x")
        if upstream == "conv":
            x = net.conv(x, net.weight(KERNEL), 16)
            x = net.quantize(x) if op in ("MaxPool", "Transpose", "Identity") else x
        y = net.add(op, x, **attributes)
        return net.conv(net.quantize(y) if requantized else y, net.weight(KERNEL))

    return recipe


def _residual(skip: bool, branch: bool) -> Recipe:
    def recipe(net: Net) -> str:
        x = net.quantize("x")
        y = net.conv(x, net.weight(KERNEL), 16, pads=[1, 1, 1, 1])
        y = net.quantize(y) if branch else y
        total = net.add("Relu", net.add("Add", y, x if skip else "x"))
        return net.conv(net.quantize(total), net.weight(KERNEL))

    return recipe


def _concat(scales: tuple[float, float], requantized: bool) -> Recipe:
    def recipe(net: Net) -> str:
        x = net.quantize("x")
        parts = [net.conv(x, net.weight(KERNEL)) for _ in scales]
        placed = [net.quantize(p, np.float32(s)) for p, s in zip(parts, scales, strict=True)]
        y = net.add("Concat", *placed, axis=1)
        y = net.quantize(y, np.float32(scales[0])) if requantized else y
        return net.conv(y, net.weight((16, 32, 3, 3)))

    return recipe


def _batch_norm(net: Net) -> str:
    y = net.conv(net.quantize("x"), net.weight(KERNEL))
    ones = [net.const(np.ones(16, np.float32)) for _ in range(4)]
    y = net.add("Relu", net.add("BatchNormalization", y, *ones))
    return net.conv(net.quantize(y), net.weight(KERNEL))


def _shared_weight(net: Net) -> str:
    weight = net.weight(KERNEL)
    y = net.conv(net.quantize("x"), weight)
    return net.conv(net.quantize(y), weight)


def _flat(net: Net) -> str:
    shape = net.const(np.asarray([1, 16, 12, 12], np.int64))
    y = net.add("Reshape", net.add("Flatten", net.quantize("x"), axis=1), shape)
    return net.conv(y, net.weight(KERNEL))


def _half_conv(net: Net) -> str:
    """DQ in float32, then a convolution in fp16."""
    x = net.add("Cast", net.quantize("x"), to=TensorProto.FLOAT16)
    weight = net.add("Cast", net.weight(KERNEL), to=TensorProto.FLOAT16)
    return net.add("Cast", net.conv(x, weight), to=TensorProto.FLOAT)


def _upsample(net: Net) -> str:
    size = net.const(np.asarray([1, 1, 2, 2], np.float32))
    y = net.add("Resize", net.quantize("x"), "", size, mode="nearest")
    return net.conv(y, net.weight(KERNEL))


_PLACEMENTS: dict[str, Recipe] = {
    "conv": _quantized_conv,
    "no-activation": lambda n: n.conv("x", n.weight(KERNEL)),
    "no-weight": lambda n: n.conv(n.quantize("x"), _float_weight(n)),
    "none": lambda n: n.conv("x", _float_weight(n)),
    "double": lambda n: n.conv(n.quantize(n.quantize("x")), n.weight(KERNEL)),
    "double-scales": lambda n: n.conv(
        n.quantize(n.quantize("x"), np.float32(0.05)), n.weight(KERNEL)
    ),
    "output": lambda n: n.quantize(n.conv(n.quantize("x"), n.weight(KERNEL), 16)),
    "residual-skip": _residual(True, False),
    "residual-branch": _residual(False, True),
    "residual-both": _residual(True, True),
    "residual-none": _residual(False, False),
    "concat-one-scale": _concat((0.02, 0.02), True),
    "concat-two-scales": _concat((0.02, 0.05), True),
    "concat-bare": _concat((0.02, 0.02), False),
    "concat-bare-two-scales": _concat((0.02, 0.05), False),
    "batch-norm": _batch_norm,
    "shared-weight": _shared_weight,
    "upsample": _upsample,
    "cast-fp16": _half_conv,
    "flatten-reshape": _flat,
    "small-channels": lambda n: n.conv(n.quantize("x"), n.weight((3, 16, 3, 3))),
    "deconv-1": lambda n: n.add("ConvTranspose", n.quantize("x"), n.weight(KERNEL, 1)),
}


def _gemm(quantized: bool) -> Recipe:
    def recipe(net: Net) -> str:
        x = net.quantize("x") if quantized else "x"
        bias = net.const(np.zeros(32, np.float32))
        return net.add("Gemm", x, net.weight((32, 64), 0), bias, transB=1)

    return recipe


def _two_activations(left: bool, right: bool) -> Recipe:
    def recipe(net: Net) -> str:
        other = net.add("Transpose", net.add("Relu", "x"), perm=[1, 0])
        a = net.quantize("x") if left else "x"
        return net.add("MatMul", a, net.quantize(other) if right else other)

    return recipe


def _attention(quantized: bool) -> Recipe:
    def recipe(net: Net) -> str:
        wrap: Callable[[str], str] = net.quantize if quantized else (lambda value: value)
        x = net.quantize("x")
        q, k, v = (net.add("MatMul", x, net.weight((64, 64), 1)) for _ in range(3))
        keys = net.add("Transpose", wrap(k), perm=[1, 0])
        scores = net.add("Softmax", net.add("MatMul", wrap(q), keys), axis=-1)
        probabilities = net.quantize(scores, np.float32(1 / 127)) if quantized else scores
        return net.add("MatMul", probabilities, wrap(v))

    return recipe


def _reshaped(net: Net) -> str:
    shape = net.const(np.asarray([2, 4, 64], np.int64))
    y = net.add("Reshape", net.quantize("x"), shape)
    return net.add("MatMul", y, net.weight((64, 32), 1))


def _layer_norm(requantized: bool) -> Recipe:
    def recipe(net: Net) -> str:
        x = net.quantize("x")
        ones = net.const(np.ones(64, np.float32))
        y = net.add("LayerNormalization", x, ones, axis=-1)
        return net.add("MatMul", net.quantize(y) if requantized else y, net.weight((64, 32), 1))

    return recipe


def _bias_add(net: Net) -> str:
    y = net.add("MatMul", net.quantize("x"), net.weight((64, 32), 1))
    y = net.add("Relu", net.add("Add", y, net.const(np.ones(32, np.float32))))
    return net.add("MatMul", net.quantize(y), net.weight((32, 32), 1))


_PRODUCTS: dict[str, Recipe] = {
    "matmul": _quantized_matmul,
    "gemm": _gemm(True),
    "gemm-float-activation": _gemm(False),
    "qk-both": _two_activations(True, True),
    "qk-left": _two_activations(True, False),
    "qk-right": _two_activations(False, True),
    "attention-int8": _attention(True),
    "attention-float-core": _attention(False),
    "reshape": _reshaped,
    "layernorm-bare": _layer_norm(False),
    "layernorm-q": _layer_norm(True),
    "bias-add": _bias_add,
}


def _float8(opset: int) -> onnx.ModelProto:
    net = Net(opset)
    net.input((8, 64))
    x = net.quantize("x", zero=np.asarray(0, FLOAT8))
    return net.model(net.add("MatMul", x, net.weight((64, 32), 1, FLOAT8)))
