"""Graphs about scales: constancy, sign, shape, rank, channel axis, blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from benchmarks.tensorrt_net import IMAGE, INT4, KERNEL, Case, Net, Recipe, image, rows


def scales() -> Iterator[Case]:
    """Values, shapes and axes of scales."""
    for value in (0.0, -0.02, float("nan"), float("inf"), 1e-6, 5.0):
        yield Case(f"scale-{value}", image(_activation(np.float32(value))))
    for name, recipe in _SCALE_RECIPES.items():
        yield Case(f"scale-{name}", image(recipe))
    yield Case("scale-graph-input", _scale_input())
    yield from _conv_axes()
    yield from _product_axes()


def blocks() -> Iterator[Case]:
    """Blocked weights: element type, block size, axis, op, opset, compute capability."""
    for dtype, label in ((INT4, "int4"), (np.int8, "int8")):
        for block in (0, 16, 32, 64, 128):
            for axis in (0, 1):
                yield Case(f"block-{label}-{block}-axis{axis}", _blocked(dtype, block, axis))
    for capability in (75, 80):
        yield Case(f"block-int4-sm{capability}", _blocked(INT4, 64, 0), capability)
    yield Case("block-int4-odd", _blocked(INT4, 64, 0, columns=63))
    yield Case("block-int4-activation-int8", _blocked(INT4, 64, 0, activation=np.int8))
    yield Case("block-int4-activation-int4", _blocked(INT4, 64, 0, activation=INT4))
    yield Case("block-int4-conv", image(lambda n: n.conv("x", n.weight(KERNEL, 0, INT4))))
    yield Case(
        "block-int4-conv-quantized",
        image(lambda n: n.conv(n.quantize("x"), n.weight(KERNEL, 0, INT4))),
    )
    yield Case("block-int4-rank-mismatch", _block_rank_mismatch())
    yield Case("block-int4-gemm", _blocked(INT4, 64, 0, op="Gemm"))
    yield Case("block-int4-opset19", _blocked(INT4, 64, 0, opset=19))


def _activation(scale: Any) -> Recipe:
    return lambda net: net.conv(net.quantize("x", scale), net.weight(KERNEL))


def _per_channel_activation(net: Net) -> str:
    scale, zero = net.const(np.full(16, 0.02, np.float32)), net.const(np.zeros(16, np.int8))
    quantized = net.add("QuantizeLinear", "x", scale, zero, axis=1)
    return net.conv(net.add("DequantizeLinear", quantized, scale, zero, axis=1), net.weight(KERNEL))


def _zero_volume(net: Net) -> str:
    return net.conv(net.quantize("x", np.float32(0.02), np.zeros(2, np.int8)), net.weight(KERNEL))


def _scale_input() -> onnx.ModelProto:
    net = Net()
    net.input(IMAGE)
    net.input((), name="scale")
    return net.model(net.conv(net.quantize("x", "scale"), net.weight(KERNEL)))


def _computed_scale(net: Net) -> str:
    scale = net.add("Mul", net.const(np.float32(0.1)), net.const(np.float32(0.2)))
    return net.conv(net.quantize("x", scale), net.weight(KERNEL))


def _runtime_scale(net: Net) -> str:
    scale = net.add("ReduceMax", net.add("Abs", "x"), keepdims=0)
    return net.conv(net.quantize("x", scale), net.weight(KERNEL))


def _rank1(scale: bool, zero: bool) -> Recipe:
    def recipe(net: Net) -> str:
        s = np.full((1,) if scale else (), 0.02, np.float32)
        z = np.zeros((1,) if zero else (), np.int8)
        return net.conv(net.quantize("x", s, z), net.weight(KERNEL))

    return recipe


_SCALE_RECIPES: dict[str, Recipe] = {
    "rank0": _rank1(False, False),
    "rank1": _rank1(True, True),
    "rank1-scale-only": _rank1(True, False),
    "rank1-zero-only": _rank1(False, True),
    "per-channel-activation": _per_channel_activation,
    "zero-volume": _zero_volume,
    "computed": _computed_scale,
    "runtime": _runtime_scale,
    "weight-rank1": lambda n: n.conv(
        n.quantize("x"), n.weight(KERNEL, None, scale_rank1=True, zero=False)
    ),
    "weight-per-tensor": lambda n: n.conv(n.quantize("x"), n.weight(KERNEL, None)),
    "half-scale": _activation(np.float16(0.02)),
}


def _conv_on_axis(axis: int) -> Recipe:
    return lambda net: net.conv(net.quantize("x"), net.weight(KERNEL, axis))


def _deconv_on_axis(axis: int) -> Recipe:
    return lambda net: net.add("ConvTranspose", net.quantize("x"), net.weight(KERNEL, axis))


def _grouped(groups: int) -> Recipe:
    shape = (16, 16 // groups, 3, 3)
    return lambda net: net.conv(net.quantize("x"), net.weight(shape), 16, group=groups)


def _conv_axes() -> Iterator[Case]:
    for axis in (0, 1, 2, -4):
        yield Case(f"axis-conv-{axis}", image(_conv_on_axis(axis)))
    for axis in (0, 1):
        yield Case(f"axis-convtranspose-{axis}", image(_deconv_on_axis(axis)))
    for groups in (2, 4, 16):
        yield Case(f"conv-group-{groups}", image(_grouped(groups)))


def _matmul_on_axis(axis: int | None) -> Recipe:
    return lambda net: net.add("MatMul", net.quantize("x"), net.weight((64, 32), axis))


def _gemm_on_axis(axis: int, transposed: int) -> Recipe:
    shape = (32, 64) if transposed else (64, 32)

    def recipe(net: Net) -> str:
        x, weight, bias = net.quantize("x"), net.weight(shape, axis), np.zeros(32, np.float32)
        return net.add("Gemm", x, weight, net.const(bias), transB=transposed)

    return recipe


def _transposed_weight(axis: int) -> Recipe:
    def recipe(net: Net) -> str:
        weight = net.add("Transpose", net.weight((32, 64), axis), perm=[1, 0])
        return net.add("MatMul", net.quantize("x"), weight)

    return recipe


def _product_axes() -> Iterator[Case]:
    for axis in (0, 1, -1, -2, None):
        yield Case(f"axis-matmul-{axis}", rows(_matmul_on_axis(axis)))
    for axis in (0, 1):
        yield Case(f"axis-transposed-weight-{axis}", rows(_transposed_weight(axis)))
        for transposed in (0, 1):
            recipe = _gemm_on_axis(axis, transposed)
            yield Case(f"axis-gemm-transB{transposed}-{axis}", rows(recipe))


def _blocked(
    dtype: Any,
    block: int,
    axis: int,
    columns: int = 64,
    activation: Any = None,
    op: str = "MatMul",
    opset: int = 21,
) -> onnx.ModelProto:
    net = Net(opset)
    net.input((8, 256))
    x = "x" if activation is None else net.quantize("x", zero=np.asarray(0, activation))
    columns = 256 if axis == 1 and block == 128 else columns
    return net.model(net.add(op, x, net.weight((256, columns), axis, dtype, block=block)))


def _block_rank_mismatch() -> onnx.ModelProto:
    net = Net()
    net.input((8, 256))
    data = net.const(np.ones((256, 64)).astype(INT4))
    scale = net.const(np.full((4,), 0.01, np.float32))
    weight = net.add("DequantizeLinear", data, scale, axis=0, block_size=64)
    return net.model(net.add("MatMul", "x", weight))
