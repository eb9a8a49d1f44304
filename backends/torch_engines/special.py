"""Patterns other than DQ → op → Q: dynamic linear layers, recurrent layers, look-ups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir
from torch import fx

from qcompiler.backends.torch_engines import adapter, dynamic_rnn, look_up
from qcompiler.backends.torch_engines.constants import Array, array_of
from qcompiler.backends.torch_engines.faults import Site, objections
from qcompiler.backends.torch_engines.kernels.island import Setting, Writer
from qcompiler.backends.torch_engines.kernels.weighted import with_leading_axes
from qcompiler.backends.torch_engines.recurrent_weights import recurrent_objection
from qcompiler.ir.walk import is_op, sole_user


@dataclass(frozen=True, eq=False)
class Special:
    """A pattern that becomes one call.

    Attributes:
        nodes: What the call replaces.
        last: The node whose output it writes.
        emit: Writes the call.
    """

    nodes: tuple[ir.Node, ...]
    last: ir.Node
    emit: Callable[[Writer], fx.Node]


def find_specials(graph: ir.Graph, setting: Setting) -> Iterator[Special]:
    """All special patterns of a graph."""
    for node in graph:
        found: Special | None = None
        if is_op(node, "MatMulInteger"):
            found = _dynamic_linear(node, setting)
        elif is_op(node, "LSTM", "GRU"):
            found = _dynamic_recurrent(node)
        elif is_op(node, "Gather"):
            emit = look_up.emitter(node)
            found = Special((node,), node, emit) if emit is not None else None
        if found is not None:
            yield found


def _dynamic_recurrent(node: ir.Node) -> Special | None:
    if recurrent_objection(node) or dynamic_rnn.integer_weights(node) is None:
        return None
    return Special((node,), node, partial(dynamic_rnn.emit, node))


@dataclass(frozen=True, eq=False)
class DynamicProduct:
    """x → DynamicQuantizeLinear → MatMulInteger → Cast → Mul(x_scale * w_scale) [→ Add bias].

    Attributes:
        nodes: All of it behind DynamicQuantizeLinear.
        last: The node whose output is the product.
        x: The float operand.
        weight: int8 [rows, columns].
        scale: float32, () or [columns].
        zero_point: int64, same shape.
        bias: float32 [columns], if there is one.
    """

    nodes: tuple[ir.Node, ...]
    last: ir.Node
    x: ir.Value
    weight: Array
    scale: Array
    zero_point: Array
    bias: Array | None


def dynamic_product(product: ir.Node) -> DynamicProduct | None:
    """The pattern around a MatMulInteger, None if it is another one."""
    source = product.inputs[0].producer() if product.inputs[0] is not None else None
    weight = array_of(product.inputs[1])
    if source is None or not is_op(source, "DynamicQuantizeLinear") or weight is None:
        return None
    zero = array_of(product.inputs[3]) if len(product.inputs) > 3 else None
    cast = _sole(product, "Cast")
    rescale = _sole(cast, "Mul")
    scales = _scales(rescale, cast, source)
    if weight.ndim != 2 or rescale is None or cast is None or scales is None:
        return None
    nodes, scale = scales
    if weight.dtype == np.uint8:
        weight = (weight.astype(np.int16) - 128).astype(np.int8)
        zero = np.asarray(zero if zero is not None else 0, np.int64) - 128
    points = np.zeros(scale.shape, np.int64) if zero is None else np.asarray(zero, np.int64)
    if scale.size == 1:
        scale, points = scale.reshape(()), points.reshape(-1)[:1].reshape(())
    points = np.broadcast_to(points, scale.shape)
    last, bias, extra = _bias(rescale, weight.shape[1])
    x = source.inputs[0]
    assert x is not None
    replaced = (product, cast, *nodes, rescale, *extra)
    return DynamicProduct(replaced, last, x, weight, scale, points, bias)


def _dynamic_linear(product: ir.Node, setting: Setting) -> Special | None:
    found = dynamic_product(product)
    if found is None:
        return None
    site = Site("linear", setting.engine, found.weight.T, vnni=setting.vnni)
    if objections(site, setting.faults):
        return None

    def emit(writer: Writer) -> fx.Node:
        columns = np.ascontiguousarray(found.weight.T)
        packed = adapter.pack_linear(columns, found.scale, found.zero_point, found.bias)
        held = writer.attribute("packed", packed)
        x = writer.real(found.x)
        result = writer.call(adapter.op("linear_dynamic"), x, held)
        return with_leading_axes(writer, result, x, found.x, setting)

    return Special(found.nodes, found.last, emit)


def _sole(node: ir.Node | None, op_type: str) -> ir.Node | None:
    user = sole_user(node.outputs[0]) if node is not None else None
    return user if user is not None and is_op(user, op_type) else None


def _scales(
    rescale: ir.Node | None, cast: ir.Node | None, source: ir.Node
) -> tuple[list[ir.Node], Array] | None:
    """The Mul of the two scales, and the weight's scale."""
    if rescale is None or cast is None:
        return None
    others = [v for v in rescale.inputs if v is not cast.outputs[0]]
    product = others[0].producer() if len(others) == 1 and others[0] is not None else None
    if product is None or not is_op(product, "Mul"):
        return None
    parts = [v for v in product.inputs if v is not source.outputs[1]]
    scale = array_of(parts[0]) if len(parts) == 1 else None
    if scale is None or sole_user(product.outputs[0]) is not rescale:
        return None
    return [product], scale.astype(np.float32).reshape(-1)


def _bias(rescale: ir.Node, columns: int) -> tuple[ir.Node, Array | None, list[ir.Node]]:
    """The node that ends the pattern, its bias, and the Add if there is one."""
    add = _sole(rescale, "Add")
    if add is None:
        return rescale, None, []
    others = [v for v in add.inputs if v is not rescale.outputs[0]]
    bias = array_of(others[0]) if len(others) == 1 else None
    if bias is None or bias.size not in (1, columns) or bias.size != max(bias.shape or (1,)):
        return rescale, None, []
    return add, np.broadcast_to(bias.reshape(-1).astype(np.float32), (columns,)), [add]
