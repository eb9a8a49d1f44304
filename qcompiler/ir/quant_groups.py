"""Groups of values that must share one scale and zero point: union-find over values."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, is_constant

T = TypeVar("T", bound=Hashable)


class UnionFind(Generic[T]):
    """Disjoint sets, by size with path halving: n operations in O(n α(n)) (Tarjan 1975).

    Groups come out in the order in which their first members were added, members likewise, so the
    result does not depend on hashing or on the order of the unions.
    """

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._parent: dict[T, T] = {}
        self._size: dict[T, int] = {}
        for item in items:
            self.add(item)

    def add(self, item: T) -> None:
        """Adds an item as a group of its own; nothing happens if it is there."""
        if item not in self._parent:
            self._parent[item] = item
            self._size[item] = 1

    def find(self, item: T) -> T:
        """The representative of the item's group.

        Raises:
            KeyError: The item was not added.
        """
        parent = self._parent
        while parent[item] is not item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def union(self, one: T, other: T) -> None:
        """Joins two groups; both items are added if they are new."""
        self.add(one)
        self.add(other)
        large, small = self.find(one), self.find(other)
        if large is small:
            return
        if self._size[large] < self._size[small]:
            large, small = small, large
        self._parent[small] = large
        self._size[large] += self._size[small]

    def connected(self, one: T, other: T) -> bool:
        """Whether two items are in one group."""
        return self.find(one) is self.find(other)

    def groups(self) -> list[tuple[T, ...]]:
        """All groups, in the order of their first members."""
        found: dict[T, list[T]] = {}
        for item in self._parent:
            found.setdefault(self.find(item), []).append(item)
        return [tuple(members) for members in found.values()]


Edge = tuple[ir.Value, ir.Value]


def quant_groups(
    program: Program,
    ties: Callable[[ir.Node], Iterable[Edge]],
    extra: Iterable[Edge] = (),
) -> list[tuple[ir.Value, ...]]:
    """Groups of two or more values that share a scale, in graph order.

    Args:
        program: Its nodes, those of subgraphs included, are asked for ties.
        ties: Pairs of values that a node makes equal in scale; `shared_operands` is one such rule.
        extra: Further pairs, such as operands of an aligned Add.
    """
    sets: UnionFind[ir.Value] = UnionFind(_values(program))
    for node in all_nodes(program.model):
        for one, other in ties(node):
            sets.union(one, other)
    for one, other in extra:
        sets.union(one, other)
    return [group for group in sets.groups() if len(group) > 1]


def shared_operands(node: ir.Node, positions: Iterable[int]) -> Iterator[Edge]:
    """Ties the operands at `positions` (constants left out) to every output of the node.

    For ops that move or select values only, such as Concat, MaxPool, Reshape or Split.
    """
    for position in positions:
        value = node.inputs[position]
        if value is None or is_constant(value):
            continue
        for output in node.outputs:
            yield value, output


def _values(program: Program) -> Iterator[ir.Value]:
    """Graph inputs and computed values in graph order."""
    yield from program.graph.inputs
    for node in all_nodes(program.model):
        yield from node.outputs
