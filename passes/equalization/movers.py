"""Rules of operators that move, select, pool or reduce values: channels go along with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.walk import constant, is_op, is_stored, rank
from qcompiler.passes.canonical.dims import known_elements
from qcompiler.passes.equalization.channel_map import ChannelMap, Dims
from qcompiler.passes.equalization.products import look_up
from qcompiler.passes.equalization.scope import Rule, Scope, channels, dims_of, is_zero, operand

Array = npt.NDArray[Any]


def pooled(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Pools keep channels apart; zeros and minus infinities that they pad have any scale."""
    found = scope.of(node.inputs[0])
    return [found] * len(node.outputs) if found.only_along(1) else None


def resized(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Interpolation is linear; axes that channels lie on are not resized."""
    found = scope.of(node.inputs[0])
    before, after = dims_of(node.inputs[0]), dims_of(node.outputs[0])
    crops = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if crops == "tf_crop_and_resize" or any(
        before[axis] is None or before[axis] != after[axis] for axis in found.axes
    ):
        return None
    return [found]


def reshaped(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Reshape and Flatten, by the sizes before and after."""
    before, after = dims_of(node.inputs[0]), dims_of(node.outputs[0])
    wanted = known_elements(operand(node, 1)) if is_op(node, "Reshape") else None
    if wanted is not None and len(wanted) == len(after) and before:
        before = tuple(f"axis {i}" if size is None else size for i, size in enumerate(before))
        after = tuple(map(_asked, range(len(after)), after, wanted, [before] * len(after)))
    found = scope.of(node.inputs[0]).reshaped(before, after) if before else None
    return None if found is None else [found]


def _asked(axis: int, size: int | str | None, wanted: int | None, before: Dims) -> int | str | None:
    """The size of an axis of a Reshape, if not from its shape then from what is asked for."""
    if isinstance(size, int) or wanted is None:
        return size
    if wanted == 0 and axis < len(before):
        return before[axis]
    return wanted if wanted > 0 else size


def transposed(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Axes in another order."""
    found = scope.of(node.inputs[0])
    order = node.attributes.get_ints("perm", None)
    return [found.moved(np.transpose(found.slots, order))]


def squeezed(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Squeeze and Unsqueeze with constant axes."""
    found, axes = scope.of(node.inputs[0]), constant(operand(node, 1))
    if axes is None:
        return None
    places = tuple(int(axis) for axis in axes.reshape(-1))
    if is_op(node, "Unsqueeze"):
        return [found.moved(np.expand_dims(found.slots, places))]
    if any(found.slots.shape[axis] != 1 for axis in places):
        return None
    return [found.moved(np.squeeze(found.slots, places))]


def expanded(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Expand and Tile repeat axes that no scale varies along."""
    found, after = scope.of(node.inputs[0]), rank(node.outputs[0])
    if after is None:
        return None
    found = found.to_rank(after)
    dims = dims_of(node.outputs[0])
    kept = all(dims[axis] == found.slots.shape[axis] for axis in found.axes)
    return [found] if kept else None


def sliced(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """With constant bounds where a scale varies."""
    found = scope.of(node.inputs[0])
    given = [constant(operand(node, index)) for index in (1, 2, 3, 4)]
    starts, ends, axes, steps = given
    if axes is None and operand(node, 3) is not None:
        return None
    if starts is None or ends is None:
        touched = range(found.slots.ndim) if axes is None else axes.reshape(-1)
        moves = any(found.slots.shape[int(axis)] != 1 for axis in touched)
        return None if moves else [found]
    places = list(range(starts.size)) if axes is None else [int(each) for each in axes.reshape(-1)]
    strides = [1] * starts.size if steps is None else [int(each) for each in steps.reshape(-1)]
    index: list[slice] = [slice(None)] * found.slots.ndim
    for axis, start, end, step in zip(places, starts.flat, ends.flat, strides, strict=True):
        if found.slots.shape[axis] == 1:
            continue
        if step < 0:
            return None
        index[axis] = slice(int(start), int(end), step)
    return [found.moved(found.slots[tuple(index)])]


def split(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """By the sizes of the parts."""
    found = scope.of(node.inputs[0])
    axis = node.attributes.get_int("axis", 0) % max(found.slots.ndim, 1)
    if found.slots.ndim == 0 or found.slots.shape[axis] == 1:
        return [found] * len(node.outputs)
    sizes = [channels(output, axis) for output in node.outputs]
    if any(size is None for size in sizes):
        return None
    ends = np.cumsum([size or 0 for size in sizes])
    return [found.moved(each) for each in np.split(found.slots, ends[:-1], axis=axis)]


def concatenated(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Along channels, scales stand side by side; along another axis, all operands have the same."""
    maps = [scope.of(value) for value in node.inputs]
    dims = rank(node.outputs[0])
    if dims is None or any(each.slots.ndim != dims for each in maps):
        return None
    if any(is_stored(value) and not is_zero(value) for value in node.inputs):
        return None if any(not each.is_fixed for each in maps) else [ChannelMap.fixed(dims)]
    axis = node.attributes.get_int("axis", 0) % dims
    varied = {place for each in maps for place in each.axes}
    if axis not in varied:
        return _tied(maps, scope)
    if varied != {axis} or len({each.power for each in maps if not each.is_fixed}) > 1:
        return None
    parts = []
    for value, each in zip(node.inputs, maps, strict=True):
        size = channels(value, axis)
        if size is None:
            return None
        shape = [1] * dims
        shape[axis] = size
        parts.append(np.broadcast_to(each.slots, shape))
    power = next((each.power for each in maps if not each.is_fixed), 1.0)
    return [ChannelMap(np.concatenate(parts, axis=axis), power)]


def _tied(maps: Sequence[ChannelMap], scope: Scope) -> Sequence[ChannelMap]:
    for other in maps[1:]:
        scope.constraints.tie(maps[0], other)
    shape = np.broadcast_shapes(*(each.slots.shape for each in maps))
    return [maps[0].moved(np.broadcast_to(maps[0].slots, shape))]


def padded(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Zeros have any scale; so has what is copied from beside them."""
    found, pads = scope.of(node.inputs[0]), constant(operand(node, 1))
    filled = node.attributes.get_string("mode", "constant") == "constant"
    given = operand(node, 2)
    if filled and given is not None and not is_zero(given):
        return None
    dims = found.slots.ndim
    if operand(node, 3) is not None or pads is None or pads.size != 2 * dims:
        return None
    if any(pads[axis] or pads[axis + dims] for axis in found.axes):
        return None
    return [found]


def gathered(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Look-ups in a stored table, or elements of a value along an axis."""
    if is_stored(node.inputs[0]):
        return look_up(node, scope)
    found, index = scope.of(node.inputs[0]), node.inputs[1]
    dims, count = found.slots.ndim, rank(index)
    if dims == 0 or count is None:
        return None
    axis = node.attributes.get_int("axis", 0) % dims
    if found.slots.shape[axis] == 1:
        kept = np.squeeze(found.slots, axis)
        return [found.moved(np.expand_dims(kept, tuple(range(axis, axis + count))))]
    chosen = constant(index)
    return None if chosen is None else [found.moved(np.take(found.slots, chosen, axis=axis))]


def reduced(node: ir.Node, scope: Scope) -> Sequence[ChannelMap] | None:
    """Homogeneous reductions over axes that no scale varies along."""
    found, given = scope.of(node.inputs[0]), operand(node, 1)
    axes = constant(given)
    if found.slots.ndim == 0 or (given is not None and axes is None):
        return None
    places = range(found.slots.ndim) if axes is None or not axes.size else axes.reshape(-1)
    touched = tuple(int(axis) % found.slots.ndim for axis in places)
    if any(found.slots.shape[axis] != 1 for axis in touched):
        return None
    if node.attributes.get_int("keepdims", 1):
        return [found]
    return [found.moved(np.squeeze(found.slots, touched))]


MOVERS: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), pooled),
        **dict.fromkeys(
            ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2"), reduced
        ),
        **dict.fromkeys(("Reshape", "Flatten"), reshaped),
        **dict.fromkeys(("Squeeze", "Unsqueeze"), squeezed),
        **dict.fromkeys(("Expand", "Tile"), expanded),
        "Transpose": transposed,
        "Slice": sliced,
        "Split": split,
        "Concat": concatenated,
        "Pad": padded,
        "Gather": gathered,
        "Resize": resized,
    }
)
"""Rules by operator."""
