"""Graphs about element types, zero points and integer operators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.tensorrt_net import FLOAT8, IMAGE, INT8, KERNEL, UINT8, Case, Net, Recipe, image


def types() -> Iterator[Case]:
    """Element types and zero points (T01–T06, T17, T19)."""
    for dtype in (np.int8, np.uint8):
        for value in (0, 1, -3 if dtype is np.int8 else 128):
            zero = np.asarray(value).astype(dtype)
            yield Case(
                f"activation-zero-{dtype.__name__}-{value}",
                image(lambda n, z=zero: n.conv(n.quantize("x", zero=z), n.weight(KERNEL))),  # type: ignore[misc]
            )
    for name, recipe in _TYPE_RECIPES.items():
        yield Case(f"type-{name}", image(recipe))
    yield Case("type-float8-sm86", _float8(), 86)
    yield Case("type-float8-sm89", _float8(), 89)
    yield Case("type-float8-activation-int8-weight", _float8(np.int8), 89)
    for name, case in _graph_io_cases():
        yield Case(name, case)
    for op in ("QLinearConv", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"):
        yield Case(f"type-{op}", _integer_op(op))


def _bias(dtype: Any) -> Recipe:
    def recipe(net: Net) -> str:
        scale = net.const(np.full(16, 0.001, np.float32))
        zero = net.const(np.zeros(16, dtype))
        data = net.const(np.ones(16, dtype))
        bias = net.add("DequantizeLinear", data, scale, zero, axis=0)
        return net.conv(net.quantize("x"), net.weight(KERNEL), bias)

    return recipe


def _bare_quantized(net: Net) -> str:
    scale, zero = net.const(np.float32(0.02)), net.const(np.int8(0))
    return net.conv(net.add("QuantizeLinear", "x", scale, zero), net.weight(KERNEL))


def _computed_zero(net: Net) -> str:
    zero = net.add("Cast", net.const(np.float32(0.0)), to=INT8)
    return net.conv(net.quantize("x", zero=zero), net.weight(KERNEL))


def _output_dtype(net: Net) -> str:
    scale = net.const(np.float32(0.02))
    quantized = net.add("QuantizeLinear", "x", scale, output_dtype=INT8)
    return net.conv(net.add("DequantizeLinear", quantized, scale), net.weight(KERNEL))


_TYPE_RECIPES: dict[str, Recipe] = {
    "bias-int32": _bias(np.int32),
    "bias-int8": _bias(np.int8),
    "no-zero": lambda n: n.conv(n.quantize("x", zero=None), n.weight(KERNEL)),
    "no-weight-zero": lambda n: n.conv(n.quantize("x"), n.weight(KERNEL, zero=False)),
    "output-dtype": _output_dtype,
    "computed-zero": _computed_zero,
    "bare-quantized": _bare_quantized,
    "int16": lambda n: n.conv(n.quantize("x", zero=np.int16(0)), n.weight(KERNEL)),
    "uint16": lambda n: n.conv(n.quantize("x", zero=np.uint16(0)), n.weight(KERNEL)),
    "uint8-weight": lambda n: n.conv(n.quantize("x"), n.weight(KERNEL, dtype=np.uint8)),
    "int16-weight": lambda n: n.conv(n.quantize("x"), n.weight(KERNEL, dtype=np.int16)),
    "weight-from-float": lambda n: n.conv(n.quantize("x"), n.weight(KERNEL, stored=False)),
    "e5m2": lambda n: n.conv(
        n.quantize("x", zero=np.asarray(0, ml_dtypes.float8_e5m2)), n.weight(KERNEL)
    ),
}


def _float8(weight: Any = FLOAT8) -> onnx.ModelProto:
    net = Net()
    net.input((8, 64))
    x = net.quantize("x", zero=np.asarray(0, FLOAT8))
    return net.model(net.add("MatMul", x, net.weight((64, 32), 1, weight)))


def _graph_io_cases() -> Iterator[tuple[str, onnx.ModelProto]]:
    for dtype in (INT8, UINT8):
        net = Net()
        net.input(IMAGE, dtype)
        zero = net.const(np.asarray(0, np.int8 if dtype == INT8 else np.uint8))
        x = net.add("DequantizeLinear", "x", net.const(np.float32(0.02)), zero)
        yield f"type-graph-input-{dtype}", net.model(net.conv(x, net.weight(KERNEL)))
    net = Net()
    net.input(IMAGE)
    y = net.conv(net.quantize("x"), net.weight(KERNEL))
    out = net.add("QuantizeLinear", y, net.const(np.float32(0.1)), net.const(np.int8(0)))
    yield "type-graph-output-int8", net.model(out, dtype=INT8)


def _integer_op(op: str) -> onnx.ModelProto:
    net = Net()
    net.input((8, 64))
    if op == "DynamicQuantizeLinear":
        names = [f"q{i}" for i in range(3)]
        net.nodes.append(helper.make_node(op, ["x"], names, name="dynamic"))
        return net.model(net.add("DequantizeLinear", *names))
    scale, zero = net.const(np.float32(0.02)), net.const(np.int8(0))
    rows = net.add("QuantizeLinear", "x", scale, zero)
    if op == "MatMulInteger":
        weight = net.const(np.ones((64, 8), np.int8))
        return net.model(net.add(op, rows, weight), dtype=TensorProto.INT32)
    x = net.add("Reshape", rows, net.const(np.asarray([8, 16, 2, 2], np.int64)))
    weight = net.const(np.ones((16, 16, 1, 1), np.int8))
    if op == "ConvInteger":
        return net.model(net.add(op, x, weight), dtype=TensorProto.INT32)
    y = net.add(op, x, scale, zero, weight, scale, zero, scale, zero)
    return net.model(net.add("DequantizeLinear", y, scale, zero))
