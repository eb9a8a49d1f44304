"""A placed program as an fx.GraphModule with explicit `quantized_decomposed` calls.

Float calls are those of the torch engines; Q and DQ stay in the graph, since XNNPACK's partitioner
looks for them around each op. Every reader gets a DQ of its own, every bias goes into its product.
"""

from __future__ import annotations

from typing import Any

import executorch.exir  # noqa: F401 - registers torch.ops.quantized_decomposed
import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import fx
from torch.nn import functional

from qcompiler.backends.executorch import sizes
from qcompiler.backends.torch_engines.constants import (
    IntegerWeight,
    Levels,
    array_of,
    levels_of,
    weight_of,
)
from qcompiler.backends.torch_engines.graph_lowering import GraphLowering, Record
from qcompiler.backends.torch_engines.kernels.island import Setting, Writer
from qcompiler.backends.torch_engines.lowering import check_ops
from qcompiler.backends.torch_engines.ops import window
from qcompiler.backends.torch_engines.special import DynamicProduct, Special, dynamic_product
from qcompiler.backends.torch_engines.writer import identifier
from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.walk import is_op, rank, scalar, sole_user, uses

_Q: Any = torch.ops.quantized_decomposed
_WINDOWS = {"Conv": window.conv, "ConvTranspose": window.conv_transpose}
_SUFFIX = "_layer_weight"


def edge_module(model: ir.Model) -> fx.GraphModule:
    """The model as a module that takes the inputs in order and gives a tuple of outputs.

    Raises:
        LoweringError: Ops without a row.
    """
    check_ops(model)
    with torch.no_grad():
        return _EdgeLowering(model.graph, Setting("none"), Record()).build()


def weight_name(layer: str) -> str:
    """Name of the buffer with the weight of the layer whose anchor has this name."""
    return f"{identifier(layer)}{_SUFFIX}"


class _EdgeLowering(GraphLowering):
    """Keeps Q and DQ as calls, integer weights as integers, and names weights after layers."""

    def _choose_kernels(self) -> None:
        """No kernels of torch: XNNPACK chooses its own. Products take their bias in."""
        self._sizes = sizes.size_values(self._graph)
        for node in self._graph:
            special = None
            if is_op(node, "MatMulInteger"):
                special = _dynamic(node, self)
            elif is_op(node, "MatMul"):
                special = _biased(node, self)
            if special is not None:
                self._specials[special.last] = special
                self._absorbed.update(n for n in special.nodes if n is not special.last)

    def _visit_quantize(self, node: ir.Node) -> None:
        levels, source = levels_of(node), node.inputs[0]
        if levels is None or source is None or array_of(node.outputs[0]) is not None:
            super()._visit_quantize(node)
            return
        numbers = _numbers(levels, _is_shifted(node.outputs[0], levels))
        call = self.call(_Q.quantize_per_tensor.default, self.real(source), *numbers)
        self._real[node.outputs[0]] = call

    def real(self, value: ir.Value) -> fx.Node:
        if value in self._sizes:
            return self.call(sizes.as_tensor, super().real(value))
        node = value.producer()
        if node is None or not is_op(node, "DequantizeLinear") or array_of(value) is not None:
            return super().real(value)
        levels, source = levels_of(node), node.inputs[0]
        if levels is None or source is None:
            return super().real(value)
        numbers = _numbers(levels, _is_shifted(source, levels))
        return self.call(_Q.dequantize_per_tensor.default, self.real(source), *numbers)

    def operand(self, value: ir.Value | None, plain: bool = False) -> Any:
        if plain and value is not None and value in self._sizes:
            return super().real(value)
        return super().operand(value, plain)

    def _float_call(self, node: ir.Node) -> fx.Node:
        if node.outputs[0] in self._sizes:
            return self._size_call(node)
        if is_op(node, "PRelu"):
            return self._prelu(node)
        if is_op(node, "Clip"):
            return self._clip(node)
        if is_op(node, *_WINDOWS, "MatMul") or _is_linear(node):
            held = self.layer_weight(node)
            if held is not None:
                return self._layer(node, held)
        return super()._float_call(node)

    def _size_call(self, node: ir.Node) -> fx.Node:
        function = sizes.SOURCES.get(node.op_type)
        if function is not None:
            assert node.inputs[0] is not None
            return self.call(function, self.real(node.inputs[0]), **self._attributes(node))
        operands = [self.operand(value, plain=True) for value in node.inputs]
        return self.call(sizes.ARITHMETIC[node.op_type], *operands, **self._attributes(node))

    def _prelu(self, node: ir.Node) -> fx.Node:
        """torch's own for images with one slope per channel: XNNPACK takes no other rank."""
        slope, source = array_of(node.inputs[1]), node.inputs[0]
        if slope is None or source is None or rank(source) != 4:
            return super()._float_call(node)
        if slope.ndim not in (3, 4) or slope.shape[-3] != slope.size:
            return super()._float_call(node)
        held = self.attribute("slope", torch.from_numpy(np.array(slope.reshape(-1), copy=True)))
        return self.call(functional.prelu, self.real(source), held)

    def _clip(self, node: ir.Node) -> fx.Node:
        """hardtanh where it can: XNNPACK fuses no clamp into an integer layer."""
        ends = [scalar(value) if value is not None else None for value in node.inputs[1:3]]
        low, high, *_ = [*ends, None, None]
        if low is None or high is None or not low < high:
            return super()._float_call(node)
        assert node.inputs[0] is not None
        return self.call(functional.hardtanh, self.real(node.inputs[0]), float(low), float(high))

    def _layer(self, node: ir.Node, held: fx.Node) -> fx.Node:
        assert node.inputs[0] is not None
        data = self.real(node.inputs[0])
        bias = self.operand(node.inputs[2]) if len(node.inputs) > 2 else None
        if node.op_type in _WINDOWS:
            return self.call(_WINDOWS[node.op_type], data, held, bias, **self._attributes(node))
        return self.call(functional.linear, data, held, bias)

    def layer_weight(self, node: ir.Node) -> fx.Node | None:
        """The weight as torch's linear and convolutions take it; None if it is computed."""
        turned = is_op(node, "MatMul", "Gemm") and not node.attributes.get_int("transB", 0)
        weight, array = weight_of(node.inputs[1]), array_of(node.inputs[1])
        if array is None or (turned and array.ndim != 2):
            return None
        if weight is not None:
            return self.integer_weight(node, weight.transposed() if turned else weight)
        if not array.size or array.dtype != np.float32:
            return None
        return self._named(node, array.T if turned else array)

    def integer_weight(self, node: ir.Node, weight: IntegerWeight) -> fx.Node:
        """DQ of a stored weight, per channel; per tensor only if the layer has groups to share."""
        stored = self._named(node, weight.values)
        if is_op(node, "ConvTranspose") and weight.scale.ndim == 0:
            point = int(weight.zero_point)
            numbers = (float(weight.scale), point, -127, 127, torch.int8)
            return self.call(_Q.dequantize_per_tensor.default, stored, *numbers)
        channels = (weight.values.shape[weight.axis],)
        scale = np.broadcast_to(weight.scale, channels).astype(np.float32)
        zero = np.broadcast_to(weight.zero_point, channels).astype(np.int64)
        return self.call(
            _Q.dequantize_per_channel.default,
            stored,
            self.attribute("scales", torch.from_numpy(scale.copy())),
            self.attribute("zero_points", torch.from_numpy(zero.copy())),
            weight.axis, -127, 127, torch.int8,
        )  # fmt: skip

    def _named(self, node: ir.Node, array: npt.NDArray[Any]) -> fx.Node:
        before, self.out.stem = self.out.stem, ""
        name = weight_name(node.metadata_props.get(REGION_KEY) or node.name or "value")
        held = self.attribute(name, torch.from_numpy(np.array(array, order="C", copy=True)))
        self.out.stem = before
        return held


def _dynamic(node: ir.Node, lowering: _EdgeLowering) -> Special | None:
    """A linear layer whose rows are quantized at run time, each with a scale of its own."""
    found = dynamic_product(node)
    if found is None:
        return None

    def emit(writer: Writer) -> fx.Node:
        return writer.call(functional.linear, _quantized_rows(writer, found), *_held(found))

    def _held(product: DynamicProduct) -> tuple[Any, ...]:
        values = IntegerWeight(product.weight, product.scale, product.zero_point, 1).transposed()
        weight = lowering.integer_weight(node, values)
        if product.bias is None:
            return (weight,)
        return weight, lowering.attribute("bias", torch.from_numpy(product.bias.copy()))

    return Special(found.nodes, found.last, emit)


def _quantized_rows(writer: Writer, found: DynamicProduct) -> fx.Node:
    x = writer.real(found.x)
    chosen = writer.call(_Q.choose_qparams_per_token_asymmetric.default, x, torch.int8)
    ends = [writer.call(_item, chosen, index) for index in (0, 1)]
    levels = (*ends, -128, 127, torch.int8)
    integers = writer.call(_Q.quantize_per_token.default, x, *levels)
    return writer.call(_Q.dequantize_per_token.default, integers, *levels, torch.float32)


def _item(values: Any, index: int) -> Any:
    return values[index]


def _biased(node: ir.Node, lowering: _EdgeLowering) -> Special | None:
    """A MatMul with a constant weight, and the constant vector that is added to it."""
    weight = array_of(node.inputs[1])
    add = sole_user(node.outputs[0])
    if weight is None or weight.ndim != 2 or add is None or not is_op(add, "Add"):
        return None
    others = [value for value in add.inputs if value is not node.outputs[0]]
    bias = array_of(others[0]) if len(others) == 1 else None
    columns = weight.shape[1]
    if bias is None or bias.shape[-1:] != (columns,) or bias.size != columns:
        return None
    if bias.dtype != np.float32 or weight.dtype != np.float32:
        return None

    def emit(writer: Writer) -> fx.Node:
        held = lowering.layer_weight(node)
        assert node.inputs[0] is not None
        vector = torch.from_numpy(np.array(bias.reshape(-1), copy=True))
        data = writer.real(node.inputs[0])
        return writer.call(functional.linear, data, held, writer.attribute("bias", vector))

    return Special((node, add), add, emit)


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
