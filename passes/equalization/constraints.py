"""What holds between scales: `Constraints` collects it, `Freedom` says which can be chosen."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from qcompiler.passes.equalization.channel_map import FIXED, ChannelMap

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Fold:
    """A constant that takes up scales: constant × reads^power / writes^power.

    Attributes:
        node: The operator.
        index: Position of the constant.
        reads: Slots of what the operator reads, broadcastable to the constant; None if none.
        writes: Slots of what it writes.
        read_power: Power of the slots read.
        write_power: Power of the slots written.
        is_weight: Whether it is stored in few bits.
    """

    node: ir.Node
    index: int
    reads: Array | None = None
    writes: Array | None = None
    read_power: float = 1.0
    write_power: float = 1.0
    is_weight: bool = False


@dataclass(frozen=True, eq=False)
class Clamp:
    """A Clip with fixed bounds that scaled values pass.

    Attributes:
        value: What it clamps.
        slots: Slots of the value.
        low: Lower bound, -inf for none.
        high: Upper bound, inf for none.
    """

    value: ir.Value
    slots: Array
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Freedom:
    """Which scales can be chosen.

    Attributes:
        component: int64 [slots]: slots with one number move together; 0 cannot be chosen.
        exponent: float64 [slots]: the slot's scale is that of its component to this power.
        count: How many components there are, 0 included.
    """

    component: Array
    exponent: Array
    count: int

    def scales(self, logs: Array) -> Array:
        """float64 [slots] from the logarithms of the scales, float64 [count]."""
        return np.asarray(np.exp(self.exponent * logs[self.component]))


@dataclass(eq=False)
class Constraints:
    """Slots, and what is known about their scales.

    Attributes:
        folds: Constants that take up scales.
        clamps: Bounds that scaled values have to keep.
    """

    folds: list[Fold] = field(default_factory=list)
    clamps: list[Clamp] = field(default_factory=list)
    _count: int = 1
    _ties: list[tuple[Array, Array, float]] = field(default_factory=list)

    def fresh(self, shape: tuple[int, ...]) -> ChannelMap:
        """A map of new slots."""
        size = int(np.prod(shape))
        slots = np.arange(self._count, self._count + size, dtype=np.int64).reshape(shape)
        self._count += size
        return ChannelMap(slots)

    def tie(self, one: ChannelMap, other: ChannelMap) -> None:
        """Both values have the same scales, broadcast against each other."""
        first, second = np.broadcast_arrays(one.slots, other.slots)
        self._ties.append((first.reshape(-1), second.reshape(-1), other.power / one.power))

    def pin(self, found: ChannelMap) -> None:
        """These scales are 1."""
        slots = np.unique(found.slots)
        self._ties.append((slots, np.full(slots.shape, FIXED), 1.0))

    def solved(self) -> Freedom:
        """Components of slots that move together; contradictions are fixed."""
        one, other, ratio = self._edges()
        links = coo_array((np.ones(one.size), (one, other)), shape=(self._count, self._count))
        count, component = connected_components(links, directed=False)
        exponent, broken = _exponents(one, other, ratio, component, self._count)
        fixed = np.isin(component, [component[FIXED], *broken])
        kept = np.unique(component[~fixed])
        numbers = np.zeros(count, np.int64)
        numbers[kept] = np.arange(1, kept.size + 1)
        return Freedom(numbers[component], exponent, kept.size + 1)

    def _edges(self) -> tuple[Array, Array, Array]:
        empty = np.zeros(0, np.int64)
        one = np.concatenate([empty, *(tie[0] for tie in self._ties)])
        other = np.concatenate([empty, *(tie[1] for tie in self._ties)])
        ratio = np.concatenate([np.zeros(0), *(np.full(tie[0].size, tie[2]) for tie in self._ties)])
        apart = one != other
        # A slot tied to a power of itself has the scale 1.
        other = np.where(~apart & (ratio != 1), FIXED, other)
        return one, other, ratio


def _exponents(
    one: Array, other: Array, ratio: Array, component: Array, count: int
) -> tuple[Array, set[int]]:
    """Powers of the slots, and the components in which they contradict each other."""
    exponent = np.ones(count)
    odd = np.unique(component[one[ratio != 1]])
    inside = np.isin(component[one], odd)
    near: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for a, b, r in zip(one[inside].tolist(), other[inside].tolist(), ratio[inside], strict=True):
        near[b].append((a, float(r)))
        near[a].append((b, 1 / float(r)))
    seen: set[int] = set()
    for start in near:
        if start in seen:
            continue
        seen.add(start)
        pending = deque([start])
        while pending:
            slot = pending.popleft()
            for neighbour, r in near[slot]:
                if neighbour not in seen:
                    seen.add(neighbour)
                    exponent[neighbour] = exponent[slot] * r
                    pending.append(neighbour)
    wrong = np.abs(exponent[one] - ratio * exponent[other]) > 1e-9
    return exponent, set(component[one[wrong]].tolist())
