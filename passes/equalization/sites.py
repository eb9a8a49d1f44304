"""`Site`: scales that are chosen together, since values have them all, and what depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from qcompiler.passes.equalization.analysis import Scales
from qcompiler.passes.equalization.constraints import Clamp, Fold

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Observable:
    """A value whose scales lie along one axis.

    Attributes:
        value: The value.
        axis: Its channel axis.
        slots: int64 [channels].
        power: Of its map.
    """

    value: ir.Value
    axis: int
    slots: Array
    power: float

    @property
    def name(self) -> str:
        return self.value.name or ""


@dataclass(frozen=True, eq=False)
class Site:
    """Components that one choice is made for.

    Attributes:
        components: Their numbers.
        values: Values that have them, in graph order.
        readers: Weights that read them.
        clamps: Bounds on them.
    """

    components: Array
    values: tuple[Observable, ...]
    readers: tuple[Fold, ...]
    clamps: tuple[Clamp, ...]


def find_sites(found: Scales) -> list[Site]:
    """All sites, in graph order."""
    values = [
        Observable(value, each.axes[0], each.slots.reshape(-1), each.power)
        for value, each in found.maps.items()
        if len(each.axes) == 1
    ]
    component = found.freedom.component
    group = _grouped([component[each.slots] for each in values], found.freedom.count)

    def sorted_by_site(slots: Sequence[Array | None]) -> dict[int, list[int]]:
        places: dict[int, list[int]] = {}
        for index, each in enumerate(slots):
            free = np.zeros(0, np.int64) if each is None else component[each]
            for number in np.unique(group[free[free > 0]]):
                places.setdefault(int(number), []).append(index)
        return places

    of_values = sorted_by_site([each.slots for each in values])
    of_readers = sorted_by_site([each.reads for each in found.folds])
    of_clamps = sorted_by_site([each.slots for each in found.clamps])
    return [
        Site(
            np.nonzero(group == number)[0],
            tuple(values[i] for i in places),
            tuple(found.folds[i] for i in of_readers.get(number, ())),
            tuple(found.clamps[i] for i in of_clamps.get(number, ())),
        )
        for number, places in of_values.items()
    ]


def _grouped(vectors: Sequence[Array], count: int) -> Array:
    """int64 [components]: which share a value, directly or by others. 0 is by itself."""
    free = [each[each > 0] for each in vectors]
    one = np.concatenate([np.zeros(0, np.int64), *(each[:-1] for each in free)])
    other = np.concatenate([np.zeros(0, np.int64), *(each[1:] for each in free)])
    links = coo_array((np.ones(one.size), (one, other)), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)
