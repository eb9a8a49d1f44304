"""Rules of elementwise operators: f(x / s) = f(x) / s, or a constant that takes up the scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from qcompiler.ir.clamping import bounds_of
from qcompiler.ir.element_types import FLOATS, element_type
from qcompiler.ir.walk import is_op, is_stored, rank, scalar, stored_array
from qcompiler.passes.equalization.channel_map import ChannelMap
from qcompiler.passes.equalization.constraints import Clamp
from qcompiler.passes.equalization.products import factor
from qcompiler.passes.equalization.scope import Rule, Scope, is_zero, operand, own_constant


def same(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Homogeneous in its first operand; the others (slopes) keep their values."""
    scope.pin(*node.inputs[1:])
    return [scope.of(node.inputs[0])]


def cast(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Between float types nothing changes."""
    kind = ir.DataType(node.attributes.get_int("to", 0))
    return same(node, scope) if kind in FLOATS else None


def clip(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """A bound other than 0 holds for scaled values only as far as `Clamp` says."""
    bounds, found = bounds_of(node), scope.of(node.inputs[0])
    if bounds is None or found.power != 1:
        return None
    low, high = bounds
    if not low <= 0 <= high:
        return None
    if low not in (0.0, -np.inf) or high not in (0.0, np.inf):
        value = node.inputs[0]
        assert value is not None
        scope.constraints.clamps.append(Clamp(value, found.slots, low, high))
    return [found]


def joined(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Add, Sub, Sum, Max, Min, Where: all data has one scale; constants take it up."""
    start = 1 if is_op(node, "Where") else 0
    places = [i for i in range(start, len(node.inputs)) if node.inputs[i] is not None]
    computed = [i for i in places if not is_stored(node.inputs[i])]
    dims = rank(node.outputs[0])
    if not computed or dims is None:
        return None
    maps = [scope.of(node.inputs[i]).to_rank(dims) for i in computed]
    for other in maps[1:]:
        scope.constraints.tie(maps[0], other)
    shape = np.broadcast_shapes(*(each.slots.shape for each in maps))
    found = maps[0].moved(np.broadcast_to(maps[0].slots, shape))
    for index in places:
        if index not in computed and not _constant(node, index, found, scope):
            return None
    return [found]


def _constant(node: ir.Node, index: int, found: ChannelMap, scope: Scope) -> bool:
    """Whether a constant that is added (or compared with) can take up the scale."""
    if found.is_fixed or is_zero(node.inputs[index]):
        return True
    array = own_constant(node, index)
    dims = found.slots.ndim
    if array is None or array.ndim > dims or not np.all(np.isfinite(array)):
        return False
    shape = (1,) * (dims - array.ndim) + array.shape
    if any(shape[axis] != found.slots.shape[axis] for axis in found.axes):
        return False  # one number for all channels would have to become one for each
    writes = found.slots.reshape(found.slots.shape[dims - array.ndim :])
    scope.fold(node, index, writes=(writes, found.power))
    return True


def product(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Mul: s·(x·g) = (s·x)·g, so a scale passes through a gate that has none."""
    stored = [i for i in (0, 1) if is_stored(node.inputs[i])]
    dims = rank(node.outputs[0])
    if dims is None or len(stored) == 2:
        return None
    if stored:
        found = factor(node, scope, stored[0])
        return [scope.of(node.inputs[1 - stored[0]]).to_rank(dims)] if found is None else found
    one, other = (scope.of(node.inputs[i]).to_rank(dims) for i in (0, 1))
    if node.inputs[0] is node.inputs[1]:
        return [ChannelMap(one.slots, 2 * one.power)]
    if one.is_fixed or (not other.is_fixed and other.slots.size > one.slots.size):
        one, other = other, one
    if not other.is_fixed:
        scope.constraints.pin(other)
    return [one]


def quotient(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Div by a constant, or by what has no scale."""
    dims = rank(node.outputs[0])
    if dims is None or is_stored(node.inputs[0]):
        return None
    found = factor(node, scope, 1) if is_stored(node.inputs[1]) else None
    scope.pin(node.inputs[1])
    return [scope.of(node.inputs[0]).to_rank(dims)] if found is None else found


def power(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Pow with one constant exponent."""
    exponent, found = scalar(operand(node, 1)), scope.of(node.inputs[0])
    if exponent is None or exponent <= 0:
        return None
    return [ChannelMap(found.slots, exponent * found.power)]


def root(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """√(x / s) = √x / √s."""
    found = scope.of(node.inputs[0])
    return [ChannelMap(found.slots, found.power / 2)]


def slopes(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """PRelu, with any constant slopes."""
    return same(node, scope) if stored_array(operand(node, 1)) is not None else None


def is_float(value: ir.Value | None) -> bool:
    """Whether a value has a float type."""
    return value is not None and element_type(value) in FLOATS


ELEMENTWISE: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(("Identity", "Relu", "LeakyRelu", "Neg", "Abs"), same),
        **dict.fromkeys(("Add", "Sub", "Sum", "Max", "Min", "Where"), joined),
        "PRelu": slopes,
        "Cast": cast,
        "Clip": clip,
        "Mul": product,
        "Div": quotient,
        "Pow": power,
        "Sqrt": root,
    }
)
"""Rules by operator."""
