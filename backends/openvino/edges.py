"""What an edge between a float and an integer layer costs on OpenVINO, measured on this machine.

Two 1x1 convolutions in a row, each in float or int8: the time of the layers that convert between
them, in a mixed pair and in a uniform one. A Q that OpenVINO fuses into the layer before it, and
the change of layout that float convolutions need too, cost nothing here, as in a network.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx_ir as ir

from qcompiler.execution.openvino.session import OpenVinoSession
from qcompiler.ir.signature import signature_of
from qcompiler.target.artifact import ConversionCost

_CHANNELS = 64
_SIZES = (16, 64)
"""Heights and widths; the difference of the two times gives the cost per element."""
_PROFILE_SECONDS = 0.1
_BETWEEN = frozenset({"Subgraph", "FakeQuantize", "Convert", "Reorder", "Eltwise"})
"""Kinds of layers that quantize, dequantize or change the layout."""


@cache
def measure_edges(threads: int | None) -> ConversionCost:
    """Seconds per element of entering and of leaving integers, by OpenVINO's own counters."""
    between = {
        pair: [_between(*pair, size, threads) for size in _SIZES]
        for pair in ((False, False), (False, True), (True, False), (True, True))
    }
    span = _CHANNELS * (_SIZES[1] ** 2 - _SIZES[0] ** 2)

    def slope(mixed: tuple[bool, bool], uniform: tuple[bool, bool]) -> float:
        small, large = (a - b for a, b in zip(between[mixed], between[uniform], strict=True))
        return max(large - small, 0.0) / span

    enter = slope((False, True), (False, False))
    leave = slope((True, False), (True, True))
    fixed = between[False, True][0] - between[False, False][0]
    return ConversionCost(enter, leave, max(fixed, 0.0))


def _between(first: bool, second: bool, size: int, threads: int | None) -> float:
    """Seconds of the layers around and between the convolutions, which are int8 where asked."""
    model = edge_model(first, second, size)
    session = OpenVinoSession(model, signature_of(model), threads)
    feed = {"x": np.zeros((1, _CHANNELS, size, size), np.float32)}
    times = session.profile([feed], _PROFILE_SECONDS)
    return sum(each.seconds for each in times if each.layer.kind in _BETWEEN)


def edge_model(first: bool, second: bool, size: int) -> ir.Model:
    """float[1, 64, size, size] `x` -> two 1x1 convolutions, in int8 where asked, and a mean."""
    x = ir.Value(
        name="x",
        type=ir.TensorType(ir.DataType.FLOAT),
        shape=ir.Shape([1, _CHANNELS, size, size]),
    )
    nodes: list[ir.Node] = []
    stored: list[ir.Value] = []
    current = x
    for name, quantized in (("first", first), ("second", second)):
        current = _convolution(name, current, quantized, nodes, stored)
    # A small result: writing a large one would cost more than what is measured.
    pooled = ir.node("GlobalAveragePool", [current], name="pool")
    output = pooled.outputs[0]
    output.name, output.type = "y", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [x], [output], nodes=[*nodes, pooled], initializers=stored, opset_imports={"": 21}
    )
    return ir.Model(graph, ir_version=10)


def _convolution(
    name: str, data: ir.Value, quantized: bool, nodes: list[ir.Node], stored: list[ir.Value]
) -> ir.Value:
    """A convolution with a diagonal weight, behind Q/DQ if asked; its result."""

    def store(part: str, array: np.ndarray) -> ir.Value:
        tensor = ir.Tensor(array, name=f"{name}_{part}")
        value = ir.Value(
            name=tensor.name,
            type=ir.TensorType(tensor.dtype),
            shape=tensor.shape,
            const_value=tensor,
        )
        stored.append(value)
        return value

    def add(op: str, part: str, inputs: list[ir.Value]) -> ir.Value:
        node = ir.node(op, inputs, name=f"{name}_{part}")
        node.outputs[0].name = f"{name}_{part}"
        nodes.append(node)
        return node.outputs[0]

    weight = np.eye(_CHANNELS)[:, :, None, None]
    if not quantized:
        return add("Conv", "conv", [data, store("weight", weight.astype(np.float32))])
    scale = store("scale", np.asarray(0.05, np.float32))
    zero = store("zero", np.asarray(128, np.uint8))
    integers = add("QuantizeLinear", "q", [data, scale, zero])
    real = add("DequantizeLinear", "dq", [integers, scale, zero])
    parts = [
        store("weight", weight.astype(np.int8)),
        store("weight_scale", np.asarray(0.01, np.float32)),
        store("weight_zero", np.asarray(0, np.int8)),
    ]
    return add("Conv", "conv", [real, add("DequantizeLinear", "weight_dq", parts)])
