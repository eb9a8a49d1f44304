"""`Scope`: the maps of all values while a graph is walked, and the questions that rules ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.walk import constant, is_op, is_stored, rank, stored_array, uses
from qcompiler.passes.equalization.channel_map import ChannelMap, Dims
from qcompiler.passes.equalization.constraints import Constraints, Fold

Array = npt.NDArray[Any]


@dataclass(eq=False)
class Scope:
    """Maps by value; values without one have no scale that could be chosen."""

    constraints: Constraints = field(default_factory=Constraints)
    maps: dict[ir.Value, ChannelMap] = field(default_factory=dict)

    def of(self, value: ir.Value | None) -> ChannelMap:
        """The value's map; a fixed one of its rank if it has none."""
        found = None if value is None else self.maps.get(value)
        return ChannelMap.fixed(rank(value) or 0) if found is None else found

    def pin(self, *values: ir.Value | None) -> None:
        """These values stay as they are."""
        for value in values:
            if value is not None and value in self.maps:
                self.constraints.pin(self.maps[value])

    def fold(
        self,
        node: ir.Node,
        index: int,
        reads: tuple[Array, float] | None = None,
        writes: tuple[Array, float] | None = None,
        is_weight: bool = False,
    ) -> None:
        """Lets a constant take up scales, each (slots, power); see `Fold`."""
        self.constraints.folds.append(
            Fold(
                node,
                index,
                None if reads is None else reads[0],
                None if writes is None else writes[0],
                1.0 if reads is None else reads[1],
                1.0 if writes is None else writes[1],
                is_weight,
            )
        )


Rule = Callable[[ir.Node, Scope], Sequence[ChannelMap] | None]
"""Maps of the node's outputs; None where it allows no scale. The rule adds ties and folds."""


def operand(node: ir.Node, index: int) -> ir.Value | None:
    """An operand; None if it is omitted."""
    return node.inputs[index] if index < len(node.inputs) else None


def own_constant(node: ir.Node, index: int) -> Array | None:
    """A float constant that nobody else reads, so that it may be replaced without a copy."""
    value = operand(node, index)
    if value is None or not is_stored(value):
        return None
    each: ir.Value | None = value
    while each is not None:
        if len(uses(each)) != 1 or each.is_graph_output():
            return None
        producer = each.producer()
        each = producer.inputs[0] if producer is not None and producer.inputs else None
        if producer is not None and not is_op(producer, "Transpose", "Constant"):
            return None
    array = stored_array(value)
    return array if array is not None and array.dtype in (np.float32, np.float64) else None


def is_zero(value: ir.Value | None) -> bool:
    """Whether a constant is 0 (or minus infinity, which no scale changes) all over."""
    array = constant(value)
    return array is not None and bool(np.all((array == 0) | np.isneginf(array)))


def dims_of(value: ir.Value | None) -> Dims:
    """The sizes of a value's axes, names where open; () if the rank is unknown."""
    if value is None or value.shape is None:
        return ()
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def channels(value: ir.Value | None, axis: int) -> int | None:
    """The size of one axis, if it is known."""
    dims = dims_of(value)
    size = dims[axis] if -len(dims) <= axis < len(dims) else None
    return size if isinstance(size, int) else None
