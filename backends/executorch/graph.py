"""A placed program as an fx.GraphModule with explicit `quantized_decomposed` calls.

Float calls are those of the op table; Q and DQ stay in the graph, since XNNPACK's partitioner looks
for them around each op. Every reader gets a DQ of its own, every bias goes into its product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import executorch.exir  # noqa: F401 - registers torch.ops.quantized_decomposed
import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import fx
from torch.nn import functional

from qcompiler.backends.executorch import sizes
from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.products import is_row, product_rank
from qcompiler.ir.walk import is_op, rank, scalar, sole_user, uses
from qcompiler.lowering.torch_fx.checks import check_ops
from qcompiler.lowering.torch_fx.constants import (
    IntegerWeight,
    Levels,
    array_of,
    levels_of,
    weight_of,
)
from qcompiler.lowering.torch_fx.dynamic_product import DynamicProduct, dynamic_product
from qcompiler.lowering.torch_fx.lowering import lower_graph
from qcompiler.lowering.torch_fx.ops import convolution
from qcompiler.lowering.torch_fx.strategy import Builder, Strategy
from qcompiler.lowering.torch_fx.writer import identifier

_Q: Any = torch.ops.quantized_decomposed
_WINDOWS = {"Conv": convolution.conv, "ConvTranspose": convolution.conv_transpose}
_SUFFIX = "_layer_weight"


def edge_module(model: ir.Model) -> fx.GraphModule:
    """The model as a module that takes the inputs in order and gives a tuple of outputs.

    Raises:
        LoweringError: Ops without a row.
    """
    check_ops(model)
    with torch.no_grad():
        return lower_graph(model.graph, EdgeStrategy).built


def weight_name(layer: str) -> str:
    """Name of the buffer with the weight of the layer whose anchor has this name."""
    return f"{identifier(layer)}{_SUFFIX}"


@dataclass(frozen=True, eq=False)
class _Pattern:
    """Nodes that become one call, and what writes it for the last of them."""

    nodes: tuple[ir.Node, ...]
    last: ir.Node
    emit: Callable[[Builder], fx.Node]


class EdgeStrategy(Strategy):
    """Keeps Q and DQ as calls, integer weights as integers, and names weights after layers.

    XNNPACK chooses kernels of its own. Sizes are numbers (`sizes`), not tensors.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._sizes = sizes.size_values(graph)
        self._patterns: dict[ir.Node, _Pattern] = {}
        self._absorbed: set[ir.Node] = set()
        for node in graph:
            found = _dynamic(node) or _biased(node)
            if found is not None:
                self._patterns[found.last] = found
                self._absorbed.update(n for n in found.nodes if n is not found.last)

    def lower(self, node: ir.Node, builder: Builder) -> bool:
        if node in self._absorbed:
            return True
        if node in self._patterns:
            builder.bind(node, self._patterns[node].emit(builder))
            return True
        value = node.outputs[0]
        if value in self._sizes:
            builder.bind(node, _size_call(node, builder))
            return True
        if array_of(value) is not None:
            return False
        writer = _OWN.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        written = writer(node, builder) if writer is not None else None
        if written is not None:
            builder.bind(node, written)
        return written is not None or self._dequantized_later(node)

    def _dequantized_later(self, node: ir.Node) -> bool:
        return is_op(node, "DequantizeLinear") and levels_of(node) is not None

    def read(self, value: ir.Value, builder: Builder) -> fx.Node | None:
        if value in self._sizes:
            held = builder.made(value)
            assert held is not None, "nodes come in the order of their values"
            return builder.call(sizes.as_tensor, held)
        node = value.producer()
        if node is None or not is_op(node, "DequantizeLinear") or array_of(value) is not None:
            return None
        levels, source = levels_of(node), node.inputs[0]
        if levels is None or source is None:
            return None
        numbers = _numbers(levels, _is_shifted(source, levels))
        return builder.call(_Q.dequantize_per_tensor.default, builder.real(source), *numbers)


def _quantize(node: ir.Node, builder: Builder) -> fx.Node | None:
    levels, source = levels_of(node), node.inputs[0]
    if levels is None or source is None:
        return None
    numbers = _numbers(levels, _is_shifted(node.outputs[0], levels))
    return builder.call(_Q.quantize_per_tensor.default, builder.real(source), *numbers)


def _size_call(node: ir.Node, builder: Builder) -> fx.Node:
    options = builder.attributes(node)
    function = sizes.SOURCES.get(node.op_type)
    if function is not None:
        return builder.call(function, builder.operand(node, 0), **options)
    operands = [builder.operand(node, index, plain=True) for index in range(len(node.inputs))]
    return builder.call(sizes.ARITHMETIC[node.op_type], *operands, **options)


def _prelu(node: ir.Node, builder: Builder) -> fx.Node | None:
    """torch's own for images with one slope per channel: XNNPACK takes no other rank."""
    slope, source = array_of(node.inputs[1]), node.inputs[0]
    if slope is None or source is None or rank(source) != 4:
        return None
    if slope.ndim not in (3, 4) or slope.shape[-3] != slope.size:
        return None
    held = builder.attribute("slope", torch.from_numpy(np.array(slope.reshape(-1), copy=True)))
    return builder.call(functional.prelu, builder.real(source), held)


def _clip(node: ir.Node, builder: Builder) -> fx.Node | None:
    """hardtanh where it can: XNNPACK fuses no clamp into an integer layer."""
    ends = [scalar(value) if value is not None else None for value in node.inputs[1:3]]
    low, high, *_ = [*ends, None, None]
    if low is None or high is None or not low < high:
        return None
    return builder.call(functional.hardtanh, builder.operand(node, 0), float(low), float(high))


def _gemm(node: ir.Node, builder: Builder) -> fx.Node | None:
    return _layer(node, builder) if _is_linear(node) else None


def _layer(node: ir.Node, builder: Builder) -> fx.Node | None:
    held = _layer_weight(node, builder)
    if held is None:
        return None
    data = builder.operand(node, 0)
    bias = builder.operand(node, 2) if len(node.inputs) > 2 else None
    if node.op_type in _WINDOWS:
        return builder.call(_WINDOWS[node.op_type], data, held, bias, **builder.attributes(node))
    return builder.call(functional.linear, data, held, bias)


_OWN: dict[str, Callable[[ir.Node, Builder], fx.Node | None]] = {
    "QuantizeLinear": _quantize,
    "PRelu": _prelu,
    "Clip": _clip,
    "Conv": _layer,
    "ConvTranspose": _layer,
    "MatMul": _layer,
    "Gemm": _gemm,
}
"""Nodes that are written in a way of their own, or None where the op table's call does."""


def _layer_weight(node: ir.Node, builder: Builder) -> fx.Node | None:
    """The weight as torch's linear and convolutions take it; None if it is computed."""
    turned = is_op(node, "MatMul", "Gemm") and not node.attributes.get_int("transB", 0)
    weight, array = weight_of(node.inputs[1]), array_of(node.inputs[1])
    if array is None or (turned and array.ndim != 2):
        return None
    if weight is not None:
        return _integer_weight(node, weight.transposed() if turned else weight, builder)
    if not array.size or array.dtype != np.float32:
        return None
    return _named(node, array.T if turned else array, builder)


def _integer_weight(node: ir.Node, weight: IntegerWeight, builder: Builder) -> fx.Node:
    """DQ of a stored weight, per channel; per tensor only if the layer has groups to share."""
    stored = _named(node, weight.values, builder)
    if is_op(node, "ConvTranspose") and weight.scale.ndim == 0:
        point = int(weight.zero_point)
        numbers = (float(weight.scale), point, -127, 127, torch.int8)
        return builder.call(_Q.dequantize_per_tensor.default, stored, *numbers)
    channels = (weight.values.shape[weight.axis],)
    scale = np.broadcast_to(weight.scale, channels).astype(np.float32)
    zero = np.broadcast_to(weight.zero_point, channels).astype(np.int64)
    return builder.call(
        _Q.dequantize_per_channel.default,
        stored,
        builder.attribute("scales", torch.from_numpy(scale.copy())),
        builder.attribute("zero_points", torch.from_numpy(zero.copy())),
        weight.axis, -127, 127, torch.int8,
    )  # fmt: skip


def _named(node: ir.Node, array: npt.NDArray[Any], builder: Builder) -> fx.Node:
    name = weight_name(node.metadata_props.get(REGION_KEY) or node.name or "value")
    return builder.named(name, torch.from_numpy(np.array(array, order="C", copy=True)))


def _dynamic(node: ir.Node) -> _Pattern | None:
    """A linear layer whose rows are quantized at run time, each with a scale of its own."""
    found = dynamic_product(node) if is_op(node, "MatMulInteger") else None
    if found is None:
        return None
    values = IntegerWeight(found.weight, found.scale, found.zero_point, 1).transposed()

    def emit(builder: Builder) -> fx.Node:
        rows = _quantized_rows(builder, found)
        weight = _integer_weight(node, values, builder)
        if found.bias is None:
            return builder.call(functional.linear, rows, weight)
        bias = builder.attribute("bias", torch.from_numpy(found.bias.copy()))
        return builder.call(functional.linear, rows, weight, bias)

    return _Pattern(found.nodes, found.last, emit)


def _quantized_rows(builder: Builder, found: DynamicProduct) -> fx.Node:
    x = builder.real(found.x)
    chosen = builder.call(_Q.choose_qparams_per_token_asymmetric.default, x, torch.int8)
    ends = [builder.call(_item, chosen, index) for index in (0, 1)]
    levels = (*ends, -128, 127, torch.int8)
    integers = builder.call(_Q.quantize_per_token.default, x, *levels)
    return builder.call(_Q.dequantize_per_token.default, integers, *levels, torch.float32)


def _item(values: Any, index: int) -> Any:
    return values[index]


def _biased(node: ir.Node) -> _Pattern | None:
    """A MatMul with a constant weight, and the constant vector that is added to it."""
    weight = array_of(node.inputs[1]) if is_op(node, "MatMul") else None
    if weight is None or weight.ndim != 2:
        return None
    add = sole_user(node.outputs[0])
    if add is None or not is_op(add, "Add"):
        return None
    others = [value for value in add.inputs if value is not node.outputs[0]]
    bias = array_of(others[0]) if len(others) == 1 else None
    columns = weight.shape[1]
    if bias is None or bias.shape[-1:] != (columns,):
        return None
    if not is_row(bias.shape, product_rank(node)):
        return None
    if bias.dtype != np.float32 or weight.dtype != np.float32:
        return None

    def emit(builder: Builder) -> fx.Node:
        held = _layer_weight(node, builder)
        assert node.inputs[0] is not None
        vector = torch.from_numpy(np.array(bias.reshape(-1), copy=True))
        data = builder.real(node.inputs[0])
        return builder.call(functional.linear, data, held, builder.attribute("bias", vector))

    return _Pattern((node, add), add, emit)


def _is_linear(node: ir.Node) -> bool:
    """A Gemm that is x @ w (+ a constant vector)."""
    if not is_op(node, "Gemm") or node.attributes.get_int("transA"):
        return False
    scales = [node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    bias = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
    given = len(node.inputs) > 2 and node.inputs[2] is not None
    return scales == [1.0, 1.0] and (not given or (bias is not None and bias.ndim == 1))


def _is_shifted(value: ir.Value, levels: Levels) -> bool:
    """Whether uint8 integers may be held 128 lower, as int8: only DQ reads them."""
    inside = not value.is_graph_input() and not value.is_graph_output()
    readers = [node for node, _ in uses(value)]
    return not levels.signed and inside and all(is_op(n, "DequantizeLinear") for n in readers)


def _numbers(levels: Levels, shifted: bool) -> tuple[Any, ...]:
    """Scale, zero point, lowest, highest, type as the calls take them; XNNPACK knows int8 only."""
    if levels.signed or shifted:
        return levels.scale, levels.zero_point - 128, -128, 127, torch.int8
    return levels.scale, levels.zero_point, 0, 255, torch.uint8
