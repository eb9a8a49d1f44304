"""Turns a float32 Q/DQ model into a strongly typed fp16 or bf16 one, casts in the graph.

TensorRT 11 has no precision flags: what is not quantized computes in the type that the graph
says. Graph inputs and outputs stay float32; operands that ONNX defines in float32 only keep it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.ir.walk import Array, all_graphs, constant, is_op

_TYPES = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
_FLOAT_ONLY: dict[str, tuple[int, ...]] = {
    "Resize": (2,),
    "Upsample": (1,),
    "NonMaxSuppression": (1, 2, 3, 4),
}
"""Operand positions that the ONNX operator schemas allow in float32 only."""
_BF16_OPSET = 22
"""The first opset whose convolutions and pools take bfloat16; it changes nothing else there."""
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")
_SMALLEST = {
    ir.DataType.FLOAT16: 2.0**-14,
    ir.DataType.BFLOAT16: 2.0**-126,
}
"""Smallest normal numbers; below them a scale loses digits."""
_LARGEST = {
    ir.DataType.FLOAT16: 65504.0,
    ir.DataType.BFLOAT16: (2.0 - 2.0**-7) * 2.0**127,
}


def with_base_type(model: ir.Model, base: str) -> ir.Model:
    """The model with every float32 value inside it in the base type.

    Args:
        model: A float32 model, Q/DQ or not; it is not changed.
        base: `float32` (the model itself is returned), `fp16` or `bf16`.

    Returns:
        A copy whose inputs and outputs are still float32. Q/DQ scales below the smallest normal
        number of the type stay float32, with casts around that Q or DQ.
    """
    if base == "float32":
        return model
    copy = model.clone()
    if base == "bf16":
        copy.opset_imports[""] = max(copy.opset_imports[""], _BF16_OPSET)
    converter = _Converter(copy, _TYPES[base])
    for graph in all_graphs(copy):
        converter.convert(graph)
    converter.close_interface()
    return copy


class _Converter:
    """Retypes one model in place."""

    def __init__(self, model: ir.Model, dtype: ir.DataType) -> None:
        self._model = model
        self._dtype = dtype
        self._count = 0

    def convert(self, graph: ir.Graph) -> None:
        """Initializers, attributes and value types of one graph; casts where float32 must stay."""
        for node in list(graph):
            self._keep_float_operands(node)
            self._keep_small_scales(node)
        for value in list(graph.initializers.values()):
            if value.dtype is ir.DataType.FLOAT and not value.metadata_props.get(_KEPT):
                self._narrow(value)
        for node in graph:
            if not node.metadata_props.get(_KEPT):
                self._retype(node)

    def close_interface(self) -> None:
        """Casts behind float32 inputs and in front of float32 outputs of the main graph."""
        graph = self._model.graph
        for value in graph.inputs:
            if value.dtype is ir.DataType.FLOAT and value.uses():
                users = tuple(value.uses())
                cast = self._cast(value, self._dtype)
                graph.insert_before(graph[0], cast)
                for use in users:
                    use.node.replace_input_with(use.idx, cast.outputs[0])
        for index, value in enumerate(list(graph.outputs)):
            if value.dtype is self._dtype:
                graph.outputs[index] = self._output(graph, value)

    def _output(self, graph: ir.Graph, value: ir.Value) -> ir.Value:
        cast = self._cast(value, ir.DataType.FLOAT)
        graph.append(cast)
        name, value.name = value.name, f"{value.name}_narrow"
        cast.outputs[0].name = name
        return cast.outputs[0]

    def _keep_float_operands(self, node: ir.Node) -> None:
        for position in _FLOAT_ONLY.get(node.op_type, ()) if is_op(node, *_FLOAT_ONLY) else ():
            value = node.inputs[position] if position < len(node.inputs) else None
            if value is not None and value.dtype in (ir.DataType.FLOAT, self._dtype):
                self._widen_operand(node, position, value)

    def _keep_small_scales(self, node: ir.Node) -> None:
        """A scale that the type cannot hold: the Q or DQ stays float32, between casts."""
        if not is_op(node, "QuantizeLinear", "DequantizeLinear"):
            return
        scale = constant(node.inputs[1])
        if scale is None or float(scale.min()) >= _SMALLEST[self._dtype]:
            return
        assert node.inputs[1] is not None
        self._widen_operand(node, 1, node.inputs[1])
        node.metadata_props[_KEPT] = "yes"
        if is_op(node, "QuantizeLinear") and node.inputs[0] is not None:
            self._widen_operand(node, 0, node.inputs[0])
            return
        users = tuple(node.outputs[0].uses())
        cast = self._cast(node.outputs[0], self._dtype)
        node.append(cast)
        for use in users:
            use.node.replace_input_with(use.idx, cast.outputs[0])

    def _widen_operand(self, node: ir.Node, position: int, value: ir.Value) -> None:
        array = constant(value)
        if array is not None:
            kept = self._constant(array.astype(np.float32), f"{value.name}_float32")
            node.replace_input_with(position, kept)
            return
        cast = self._cast(value, ir.DataType.FLOAT)
        node.prepend(cast)
        node.replace_input_with(position, cast.outputs[0])

    def _constant(self, array: Array, stem: str) -> ir.Value:
        self._count += 1
        tensor = ir.Tensor(array, name=f"{stem}_{self._count}")
        value = ir.Value(
            name=tensor.name,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(array.shape),
            const_value=tensor,
        )
        value.metadata_props[_KEPT] = "yes"
        self._model.graph.register_initializer(value)
        return value

    def _narrow(self, value: ir.Value) -> None:
        assert value.const_value is not None
        value.const_value = self._narrowed(value.const_value)
        value.type = ir.TensorType(self._dtype)  # types are shared between clones

    def _narrowed(self, tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        """Rounded half to even; beyond the type's range saturated, as TensorRT's weights are."""
        limit = _LARGEST[self._dtype]
        array = np.clip(tensor.numpy(), -limit, limit).astype(self._dtype.numpy())
        return ir.Tensor(array, dtype=self._dtype, name=tensor.name)

    def _retype(self, node: ir.Node) -> None:
        for name, attribute in list(node.attributes.items()):
            if name in _TYPE_ATTRIBUTES and attribute.type == ir.AttributeType.INT:
                if attribute.as_int() == ir.DataType.FLOAT and not node.metadata_props.get(_CAST):
                    node.attributes[name] = ir.AttrInt64(name, self._dtype.value)
            elif attribute.type == ir.AttributeType.TENSOR:
                tensor = attribute.as_tensor()
                if tensor.dtype is ir.DataType.FLOAT:
                    node.attributes[name] = ir.AttrTensor(name, self._narrowed(tensor))
        for output in node.outputs:
            if output.dtype is ir.DataType.FLOAT and not node.metadata_props.get(_CAST):
                output.type = ir.TensorType(self._dtype)

    def _cast(self, value: ir.Value, to: ir.DataType) -> ir.Node:
        self._count += 1
        name = f"{value.name}_{to.name.lower()}_{self._count}"
        output = ir.Value(name=name, type=ir.TensorType(to), shape=value.shape)
        attributes = [ir.AttrInt64("to", to.value)]
        cast = ir.Node("", "Cast", [value], attributes, outputs=[output], name=f"{name}_cast")
        cast.metadata_props[_CAST] = "yes"
        return cast


_KEPT = "qcompiler.kept-float32"
_CAST = "qcompiler.base-cast"
