"""Rules of operators with weights: a scale goes into the weight on either side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.walk import is_stored, rank, uses
from qcompiler.passes.equalization.channel_map import ChannelMap
from qcompiler.passes.equalization.scope import Rule, Scope, channels, operand, own_constant

Array = npt.NDArray[Any]


def conv(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """[O, I/g, ...]: row o reads the inputs of its group."""
    weight, data = own_constant(node, 1), scope.of(node.inputs[0])
    if weight is None or not data.only_along(1) or data.slots.ndim != weight.ndim:
        return None
    groups, (rows, columns) = node.attributes.get_int("group", 1), weight.shape[:2]
    tail = (1,) * (weight.ndim - 2)
    own = data.vector(1, columns * groups).reshape(groups, 1, columns)
    reads = np.broadcast_to(own, (groups, rows // groups, columns)).reshape(rows, columns, *tail)
    return _biased(node, scope, (reads, data.power), (rows, 1, *tail), rows)


def conv_transpose(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """[I, O/g, ...]: row i writes the outputs of its group."""
    weight, data = own_constant(node, 1), scope.of(node.inputs[0])
    if weight is None or not data.only_along(1) or data.slots.ndim != weight.ndim:
        return None
    groups, (rows, columns) = node.attributes.get_int("group", 1), weight.shape[:2]
    tail = (1,) * (weight.ndim - 2)
    reads = data.vector(1, rows).reshape(rows, 1, *tail)
    made = scope.constraints.fresh((1, columns * groups, *tail))
    own = made.slots.reshape(groups, 1, columns)
    writes = np.broadcast_to(own, (groups, rows // groups, columns)).reshape(rows, columns, *tail)
    if not _bias(node, scope, made.slots.reshape(-1)):
        scope.constraints.pin(made)
    scope.fold(node, 1, (reads, data.power), (writes, 1.0), is_weight=True)
    return [made]


def _biased(
    node: ir.Node,
    scope: Scope,
    reads: tuple[Array, float],
    shape: tuple[int, ...],
    count: int,
) -> Sequence[ChannelMap]:
    """The fold of a convolution whose outputs lie on axis 0 of its weight."""
    made = scope.constraints.fresh((1, count, *shape[2:]))
    if not _bias(node, scope, made.slots.reshape(-1)):
        scope.constraints.pin(made)
    scope.fold(node, 1, reads, (made.slots.reshape(shape), 1.0), is_weight=True)
    return [made]


def _bias(node: ir.Node, scope: Scope, writes: Array, index: int = 2) -> bool:
    """Folds the bias, if there is one; False if it cannot be."""
    if operand(node, index) is None:
        return True
    array = own_constant(node, index)
    if array is None:
        return False
    scope.fold(node, index, writes=(writes, 1.0))
    return True


def gemm(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """[K, N], or [N, K] with transB."""
    weight, data = own_constant(node, 1), scope.of(node.inputs[0])
    if weight is None or data.slots.ndim != 2 or not data.only_along(1):
        return None
    if node.attributes.get_int("transA", 0):
        return None
    turned = bool(node.attributes.get_int("transB", 0))
    size = weight.shape[1 if turned else 0]
    made = scope.constraints.fresh((1, weight.shape[0 if turned else 1]))
    reads = data.vector(1, size)
    in_shape, out_shape = ((1, -1), (-1, 1)) if turned else ((-1, 1), (1, -1))
    writes = made.slots.reshape(out_shape)
    scope.fold(node, 1, (reads.reshape(in_shape), data.power), (writes, 1.0), is_weight=True)
    added = operand(node, 2)
    if added is not None and not is_stored(added):
        scope.constraints.tie(scope.of(added), made)
    elif not _bias(node, scope, made.slots.reshape(-1)):
        scope.constraints.pin(made)
    return [made]


def mat_mul(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """A constant on either side; of two computed operands, one passes its channels on."""
    left, right = node.inputs[0], node.inputs[1]
    dims = rank(left) or 0, rank(right) or 0
    if min(dims) < 2:
        return None
    out = max(dims)
    if is_stored(right):
        return _with_weight(node, scope, 1, scope.of(left), out)
    if is_stored(left):
        return _with_weight(node, scope, 0, scope.of(right), out)
    return _of_two(scope.of(left), scope.of(right), out)


def _with_weight(
    node: ir.Node, scope: Scope, index: int, data: ChannelMap, out: int
) -> Sequence[ChannelMap] | None:
    """`index` 1: X [.., K] times [.., K, N]; 0: [.., M, K] times X [.., K, n]."""
    weight, axis = own_constant(node, index), -1 if index else -2
    if weight is None or not data.only_along(axis):
        return None
    inner, outer = (-2, -1) if index else (-1, -2)
    count = weight.shape[outer]
    shape = [1] * out
    shape[axis] = count
    made = scope.constraints.fresh(tuple(shape))
    reads = _along(data.vector(axis, weight.shape[inner]), inner, weight.ndim)
    writes = _along(made.slots.reshape(-1), outer, weight.ndim)
    scope.fold(node, index, (reads, data.power), (writes, 1.0), is_weight=True)
    return [made]


def _of_two(left: ChannelMap, right: ChannelMap, out: int) -> Sequence[ChannelMap] | None:
    if left.is_fixed and right.slots.shape[-2] == 1:
        return [right.to_rank(out)]
    if right.is_fixed and left.slots.shape[-1] == 1:
        return [left.to_rank(out)]
    return None


def recurrent(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """LSTM, GRU, RNN: features of X go into W [directions, gates, features]; states are bounded."""
    weight, data = own_constant(node, 1), scope.of(node.inputs[0])
    if weight is None or data.slots.ndim != 3 or not data.only_along(2):
        return None
    reads = data.vector(2, weight.shape[2]).reshape(1, 1, -1)
    scope.fold(node, 1, (reads, data.power), is_weight=True)
    scope.pin(*node.inputs[1:])
    return [scope.of(None)] * len(node.outputs)


def layer_norm(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Scale and shift over the last axis take up the scale of the result."""
    scope.pin(node.inputs[0])
    gain, dims = own_constant(node, 1), rank(node.inputs[0])
    if gain is None or gain.ndim != 1 or dims is None or _others_used(node):
        return None
    made = scope.constraints.fresh((*(1,) * (dims - 1), gain.shape[0]))
    writes = made.slots.reshape(-1)
    if not _bias(node, scope, writes):
        return None
    scope.fold(node, 1, writes=(writes, 1.0))
    return [made, *[scope.of(None)] * (len(node.outputs) - 1)]


def batch_norm(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """g·(x - m)/√(v + e) + b: x/s is met by g·s and m/s, exactly for every e."""
    data = scope.of(node.inputs[0])
    arrays = [own_constant(node, index) for index in (1, 2, 3)]
    dims = rank(node.inputs[0])
    training = node.attributes.get_int("training_mode", 0) or _others_used(node)
    if dims is None or training or any(each is None for each in arrays) or not data.only_along(1):
        return None
    assert arrays[0] is not None
    count = arrays[0].size
    made = scope.constraints.fresh((1, count, *(1,) * (dims - 2)))
    reads, writes = data.vector(1, count), made.slots.reshape(-1)
    scope.fold(node, 1, (reads, data.power), (writes, 1.0))
    scope.fold(node, 2, writes=(writes, 1.0))
    scope.fold(node, 3, writes=(reads, data.power))
    return [made]


def _others_used(node: ir.Node) -> bool:
    return any(uses(each) or each.is_graph_output() for each in node.outputs[1:])


def look_up(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Rows of a stored table [V, E]: its columns take up the scale of what is looked up."""
    table, dims = own_constant(node, 0), rank(node.inputs[1])
    if table is None or table.ndim != 2 or dims is None:
        return None
    if node.attributes.get_int("axis", 0) != 0:
        return None
    made = scope.constraints.fresh((*(1,) * dims, table.shape[1]))
    scope.fold(node, 0, writes=(made.slots.reshape(1, -1), 1.0), is_weight=True)
    return [made]


def factor(node: ir.Node, scope: Scope, index: int) -> Sequence[ChannelMap] | None:
    """Mul or Div by a constant vector along one axis (at `index`): its channels are free behind it.

    None where the constant is no such vector; it is then as good as a number.
    """
    array, dims = own_constant(node, index), rank(node.outputs[0])
    data = scope.of(node.inputs[1 - index])
    if array is None or dims is None or array.ndim > dims or array.size == 1:
        return None
    shape = (1,) * (dims - array.ndim) + array.shape
    axes = [axis for axis, size in enumerate(shape) if size != 1]
    data = data.to_rank(dims)
    if len(axes) != 1 or not data.only_along(axes[0]):
        return None
    if channels(node.outputs[0], axes[0]) != shape[axes[0]]:
        return None
    made = scope.constraints.fresh(shape)
    tail = shape[dims - array.ndim :]
    reads = np.broadcast_to(data.slots, shape).reshape(tail)
    signs = -1.0 if node.op_type == "Div" else 1.0
    own = (reads, signs * data.power), (made.slots.reshape(tail), signs)
    scope.fold(node, index, *own)
    return [made]


def _along(vector: Array, axis: int, dims: int) -> Array:
    shape = [1] * dims
    shape[axis] = -1
    return vector.reshape(shape)


PRODUCTS: Mapping[str, Rule] = MappingProxyType(
    {
        "Conv": conv,
        "ConvTranspose": conv_transpose,
        "Gemm": gemm,
        "MatMul": mat_mul,
        "LSTM": recurrent,
        "GRU": recurrent,
        "RNN": recurrent,
        "LayerNormalization": layer_norm,
        "BatchNormalization": batch_norm,
    }
)
"""Rules by operator."""
