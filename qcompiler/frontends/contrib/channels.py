"""Values that hold channels in blocks, and how many of their channels are no filling.

Values that pools and elementwise operators join have equally many channels. Convolutions,
ReorderInput and ReorderOutput say the number or a bound of it; what no reader looks at is filling.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.frontends.contrib.activations import ACTIVATIONS
from qcompiler.frontends.contrib.blocks import DOMAIN, Evidence, filter_of, laid_out
from qcompiler.ir.optraits import traits
from qcompiler.ir.walk import constant, is_op, scalar

Array = npt.NDArray[Any]
Counts = Mapping[ir.Value, int]


def blocked_values(nodes: Sequence[ir.Node]) -> dict[ir.Value, None]:
    """Values in blocks, in order: what the domain's operators make, and what is made of that.

    Raises:
        UnreadableModelError: An operator reads one whose result depends on the layout.
    """
    found: dict[ir.Value, None] = {}
    for node in nodes:
        if node.domain == DOMAIN:
            if node.op_type != "ReorderOutput":
                found.update(dict.fromkeys(node.outputs))
        elif any(value in found for value in node.inputs):
            if not _is_transparent(node, found):
                raise laid_out(node, "it reads blocks of channels, which it is not known to do")
            found.update(dict.fromkeys(node.outputs))
    return found


def _is_transparent(node: ir.Node, blocked: Collection[ir.Value]) -> bool:
    """Whether it computes the same in blocks as without."""
    if is_reshape(node, blocked):
        return True
    if is_op(node, "Concat"):
        return node.attributes.get_int("axis", 0) == 1 and all(v in blocked for v in node.inputs)
    fused = node.domain == "com.microsoft" and node.op_type in ACTIVATIONS
    operands = [value for value in node.inputs if value is not None]
    return (traits(node).elementwise or fused) and all(
        value in blocked or scalar(value) is not None for value in operands
    )


def is_reshape(node: ir.Node, blocked: Collection[ir.Value]) -> bool:
    """Whether it only makes blocks an axis of their own, or takes that axis away."""
    if not is_op(node, "Reshape") or node.inputs[0] not in blocked:
        return False
    shape = constant(node.inputs[1])
    if shape is None or shape.size not in (4, 5):
        return False
    return not shape[[0, 2, 3]].any()


def evidence(nodes: Sequence[ir.Node], blocked: Collection[ir.Value]) -> Iterator[Evidence]:
    """What the numbers of a file say about the size of its blocks."""
    for node in nodes:
        if is_conv(node):
            rows, columns = _dims(node)[:2]
            yield Evidence(multiple=rows)
            if node.inputs[0] not in blocked:
                yield Evidence(above=columns)
            elif not is_depthwise(node):
                yield Evidence(multiple=columns)
        elif is_reshape(node, blocked):
            shape = constant(node.inputs[1])
            assert shape is not None
            given = int(shape[-1]) if shape.size == 5 else 0
            yield Evidence(exactly=given)


def is_conv(node: ir.Node) -> bool:
    """Whether it is a convolution of blocks."""
    return node.domain == DOMAIN and node.op_type == "Conv"


def is_depthwise(conv: ir.Node) -> bool:
    """Whether every channel has a filter of its own, with a filling channel's too."""
    rows, columns = _dims(conv)[:2]
    return columns == 1 and rows == conv.attributes.get_int("group", 1) > 1


def weight_of_conv(conv: ir.Node) -> Array:
    """The weight as it is stored, [M', C', kH, kW].

    Raises:
        UnreadableModelError: It is computed, or has another rank.
    """
    stored = constant(conv.inputs[1])
    if stored is None or stored.ndim != 4:
        raise laid_out(conv, "its weight is no constant of four axes")
    return stored


def _dims(conv: ir.Node) -> tuple[int, ...]:
    return tuple(int(dim) for dim in weight_of_conv(conv).shape)


def channel_counts(nodes: Sequence[ir.Node], blocked: Collection[ir.Value], size: int) -> Counts:
    """Channels of every blocked value without filling.

    Args:
        nodes: Of the whole model, in order.
        blocked: `blocked_values` of them.
        size: Channels of a block.
    """
    groups = _Groups(blocked)
    for node in nodes:
        groups.join(node)
    filled: dict[ir.Value, int] = {}  # by the first value of a group: channels with filling
    least: dict[ir.Value, int] = {}
    for node in nodes:
        for value, count in _with_filling(node, groups, filled, size):
            filled[groups.first(value)] = count
        for value, count in _needed(node, groups, filled, size):
            first = groups.first(value)
            least[first] = max(least.get(first, 1), count)
    return {value: least.get(groups.first(value), 1) for value in blocked}


class _Groups:
    """Values with equally many channels."""

    def __init__(self, blocked: Collection[ir.Value]) -> None:
        self._blocked = blocked
        self._next: dict[ir.Value, ir.Value] = {}

    def first(self, value: ir.Value) -> ir.Value:
        """The value that stands for its group."""
        while value in self._next:
            value = self._next[value]
        return value

    def join(self, node: ir.Node) -> None:
        """Joins the blocked operands and results of a node that keeps the channels."""
        if is_op(node, "Concat"):
            return
        operands = node.inputs[3:] if is_conv(node) and not is_depthwise(node) else node.inputs
        both = self.among([*operands, *node.outputs])
        for value in both[1:]:
            one, other = self.first(both[0]), self.first(value)
            if one is not other:
                self._next[other] = one

    def among(self, values: Sequence[ir.Value | None]) -> list[ir.Value]:
        """Those that are in blocks."""
        return [value for value in values if value is not None and value in self._blocked]


def _with_filling(
    node: ir.Node, groups: _Groups, filled: Mapping[ir.Value, int], size: int
) -> Iterator[tuple[ir.Value, int]]:
    """Channels of values with what fills their last block."""
    if is_conv(node):
        rows, columns = _dims(node)[:2]
        yield node.outputs[0], rows
        for value in groups.among(node.inputs[:1]):
            group = node.attributes.get_int("group", 1)
            yield value, rows if is_depthwise(node) else columns * group
    elif is_op(node, "Concat"):
        parts = [filled.get(groups.first(value)) for value in groups.among(node.inputs)]
        if parts and all(part is not None for part in parts):
            yield node.outputs[0], sum(part for part in parts if part is not None)
    elif (given := _reordered(node)) is not None:
        yield node.outputs[0], -(-given // size) * size


def _needed(
    node: ir.Node, groups: _Groups, filled: Mapping[ir.Value, int], size: int
) -> Iterator[tuple[ir.Value, int]]:
    """Lower bounds of the channels without filling: whatever a reader looks at."""
    if is_conv(node):
        rows, columns = _dims(node)[:2]
        group = node.attributes.get_int("group", 1)
        whole = group > 1 and not is_depthwise(node)
        yield node.outputs[0], rows if whole else rows - size + 1
        for value in groups.among(node.inputs[:1]):
            if whole:
                yield value, columns * group
            elif group == 1:
                yield value, max(_columns_read(node, size), columns - size + 1)
    elif is_op(node, "Concat"):  # ONNX Runtime joins whole blocks only
        for value in groups.among([*node.inputs, *node.outputs]):
            yield value, filled.get(groups.first(value), 1)
    elif node.domain == DOMAIN and node.op_type == "ReorderOutput":
        for value in groups.among(node.inputs):
            yield value, node.attributes.get_int("channels", 1)
    elif (given := _reordered(node)) is not None:
        yield node.outputs[0], given


def _reordered(node: ir.Node) -> int | None:
    """Channels of what a ReorderInput reads, if they are known."""
    if node.domain != DOMAIN or node.op_type != "ReorderInput":
        return None
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if shape is None or len(shape) != 4:
        return None
    dim = shape[-1 if node.attributes.get_int("channels_last", 0) else 1]
    return dim if isinstance(dim, int) else None


def _columns_read(conv: ir.Node, size: int) -> int:
    """Input channels up to the last that has a weight."""
    weight = filter_of(weight_of_conv(conv), size, blocked=True)
    used = np.flatnonzero(weight.any(axis=(0, 2, 3)))
    return int(used[-1]) + 1 if used.size else 0
