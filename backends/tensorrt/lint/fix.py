"""Rewrites that make a model legal for TensorRT and keep its function exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qcompiler.backends.tensorrt.lint.run import Model, as_model
from qcompiler.backends.tensorrt.lint.view import Quantization, View, quantization
from qcompiler.ir.walk import Array, constant, uses

_MIDDLE = 128
"""uint8 with zero point 128 and int8 with zero point 0 are the same set of real values."""


@dataclass(frozen=True)
class Fix:
    """One applied rewrite: the rule it satisfies, the node it was applied to, what was done."""

    rule: str
    node: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule} at {self.node}: {self.what}"


def fix(model: Model) -> tuple[ir.Model, tuple[Fix, ...]]:
    """Applies every rewrite that keeps the function, and says which.

    Integer biases become float ones (T02); uint8 with zero point 128 becomes int8 with zero point
    0 (T03, T06); activation scales of equal elements become scalars (T10, T11); missing int8 zero
    points are added where the type is known (T05); Q/DQ behind an equal Q/DQ is removed (P7).
    What would change the function, such as other uint8 zero points, is left to the caller.

    Returns:
        A rewritten copy (weights are shared until replaced) and the rewrites.

    Raises:
        UnreadableModelError: The path is no readable ONNX file.
    """
    fixed = as_model(model).clone()
    done: list[Fix] = []
    for rewrite in _REWRITES:
        for found in View(fixed).quantizations:
            if found.node.graph is not None:
                done.extend(rewrite(fixed, found))
    _drop_unused(fixed)
    return fixed, tuple(done)


def _float_bias(model: ir.Model, found: Quantization) -> list[Fix]:
    """DequantizeLinear(int32 constant) is replaced by its value, int32 * scale in float32."""
    data, scale = constant(found.data), found.scale_values
    if found.quantizes or data is None or scale is None or data.dtype != np.int32:
        return []
    zero = constant(found.zero)
    if zero is not None and zero.any():
        return []
    if scale.size > 1:
        shape = [1] * data.ndim
        shape[found.axis] = scale.size
        scale = scale.reshape(shape)
    output = found.node.outputs[0]
    _replace(output, _initializer(model, data.astype(scale.dtype) * scale, f"{output.name}_float"))
    _graph(found.node).remove(found.node, safe=True)
    return [Fix("T02", found.node.name or "", "int32 bias stored as float")]


def _signed(model: ir.Model, found: Quantization) -> list[Fix]:
    """A uint8 Q/DQ pair or stored weight with zero point 128 becomes int8 with zero point 0."""
    if not _is_middle(found):
        return []
    data = constant(found.data)
    if not found.quantizes and data is not None and data.dtype == np.uint8:
        moved = (data.astype(np.int16) - _MIDDLE).astype(np.int8)
        found.node.replace_input_with(0, _initializer(model, moved, f"{_name(found.data)}_int8"))
        return [_with_int8_zero(model, found)]
    if not found.quantizes:
        return []
    output = found.node.outputs[0]
    readers = [quantization(use.node) for use in uses(output)]
    if output.is_graph_output() or not all(
        reader and not reader.quantizes and _is_middle(reader) for reader in readers
    ):
        return []
    output.type = ir.TensorType(ir.DataType.INT8)  # types are shared between clones
    return [_with_int8_zero(model, each) for each in (found, *readers) if each is not None]


def _with_int8_zero(model: ir.Model, found: Quantization) -> Fix:
    zero = constant(found.zero)
    assert zero is not None
    new = _initializer(model, np.zeros(zero.shape, np.int8), f"{_name(found.zero)}_int8")
    found.node.replace_input_with(2, new)
    found.node.attributes.pop("output_dtype", None)
    return Fix("T03", found.node.name or "", "uint8 with zero point 128 stored as int8")


def _scalar_scale(model: ir.Model, found: Quantization) -> list[Fix]:
    """An activation's scale of equal elements becomes a scalar, and so does its zero point."""
    scale, zero = found.scale_values, constant(found.zero)
    if scale is None or scale.ndim == 0 or found.holds_constant or found.block:
        return []
    if not (scale == scale.flat[0]).all():
        return []
    if zero is not None and not (zero == zero.flat[0]).all():
        return []
    rule = "T11" if scale.size == 1 else "T10"
    for index, values in ((1, scale), (2, zero)):
        if values is not None:
            old = found.node.inputs[index]
            new = _initializer(model, values.reshape(-1)[0].reshape(()), f"{_name(old)}_scalar")
            found.node.replace_input_with(index, new)
    found.node.attributes.pop("axis", None)
    return [Fix(rule, found.node.name or "", "scale stored as a scalar")]


def _zero_point(model: ir.Model, found: Quantization) -> list[Fix]:
    """An int8 zero point of 0 is written out where the type is known to be int8."""
    scale = found.scale_values
    known = not found.quantizes or "output_dtype" in found.node.attributes
    int8 = found.stored_type is ir.DataType.INT8
    if found.zero is not None or scale is None or not known or not int8:
        return []
    new = _initializer(model, np.zeros(scale.shape, np.int8), f"{_name(found.scale)}_zero")
    if len(found.node.inputs) < 3:
        found.node.resize_inputs(3)
    found.node.replace_input_with(2, new)
    if found.quantizes:
        found.node.attributes.pop("output_dtype", None)
    return [Fix("T05", found.node.name or "", "int8 zero point written out")]


def _double_pair(model: ir.Model, found: Quantization) -> list[Fix]:
    """DQ -> Q -> DQ with equal parameters: the second pair changes nothing."""
    before = quantization(found.data.producer()) if found.data is not None else None
    if not found.quantizes or before is None or before.quantizes or not _equal(before, found):
        return []
    output = found.node.outputs[0]
    pairs = [quantization(use.node) for use in uses(output)]
    if output.is_graph_output() or any(
        pair is None or not _equal(pair, found) or pair.node.outputs[0].is_graph_output()
        for pair in pairs
    ):
        return []
    for pair in pairs:
        assert pair is not None
        _replace(pair.node.outputs[0], before.node.outputs[0])
        _graph(pair.node).remove(pair.node, safe=True)
    _graph(found.node).remove(found.node, safe=True)
    return [Fix("P7", found.node.name or "", "second of two equal Q/DQ pairs removed")]


_Rewrite = Callable[[ir.Model, Quantization], list[Fix]]
_REWRITES: tuple[_Rewrite, ...] = (_float_bias, _signed, _scalar_scale, _zero_point, _double_pair)


def _is_middle(found: Quantization) -> bool:
    zero = constant(found.zero)
    return zero is not None and zero.dtype == np.uint8 and bool((zero == _MIDDLE).all())


def _equal(one: Quantization, two: Quantization) -> bool:
    if one.stored_type is not two.stored_type or one.axis != two.axis or one.block != two.block:
        return False
    scales, zeros = (one.scale_values, two.scale_values), (constant(one.zero), constant(two.zero))
    return _same(*scales) and (_same(*zeros) or zeros == (None, None))


def _same(one: Array | None, two: Array | None) -> bool:
    return one is not None and two is not None and np.array_equal(one, two)


def _initializer(model: ir.Model, array: Array, stem: str) -> ir.Value:
    graph = model.graph
    name, number = stem, 1
    while name in graph.initializers:
        number += 1
        name = f"{stem}_{number}"
    tensor = ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
    value = ir.Value(
        name=name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor
    )
    graph.register_initializer(value)
    return value


def _replace(old: ir.Value, new: ir.Value) -> None:
    for use in old.uses():
        use.node.replace_input_with(use.idx, new)


def _graph(node: ir.Node) -> ir.Graph:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    return graph


def _name(value: ir.Value | None) -> str:
    return (value.name if value is not None else None) or "tensor"


def _drop_unused(model: ir.Model) -> None:
    unused = [
        name
        for name, value in model.graph.initializers.items()
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input()
    ]
    for name in unused:
        del model.graph.initializers[name]
