"""`ChannelMap`: which scale every channel of a value has, and how movers of data carry it along.

A scale is known by a slot number. Equalization replaces a value x by x / s, with s = scale of the
slot to the map's power; slot 0 is the scale 1, which cannot be chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Dims = Sequence[int | str | None]
"""Sizes of axes; a name for one that is open, None for one of which nothing is known."""

FIXED = 0
"""The slot whose scale is 1."""


@dataclass(frozen=True, eq=False)
class ChannelMap:
    """Slots of a value.

    Attributes:
        slots: int64, an axis for each of the value's, 1 long (the same all along) or of full size.
        power: The scale of the value is that of its slot to this power.
    """

    slots: Array
    power: float = 1.0

    @classmethod
    def fixed(cls, rank: int) -> ChannelMap:
        """No scale anywhere."""
        return cls(np.full((1,) * rank, FIXED, np.int64))

    @property
    def is_fixed(self) -> bool:
        return bool(np.all(self.slots == FIXED))

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes along which the scale varies."""
        return tuple(axis for axis, size in enumerate(self.slots.shape) if size != 1)

    def only_along(self, axis: int) -> bool:
        """Whether it varies along no other axis."""
        dims = self.slots.ndim
        return all(each == axis % dims for each in self.axes) if dims else True

    def vector(self, axis: int, size: int) -> Array:
        """The slots along one axis, [size]; it must vary along no other."""
        flat = np.moveaxis(self.slots, axis, -1).reshape(-1)
        return np.asarray(np.broadcast_to(flat, (size,)))

    def moved(self, slots: Array) -> ChannelMap:
        """The same power with other slots."""
        return replace(self, slots=np.asarray(slots, np.int64))

    def to_rank(self, rank: int) -> ChannelMap:
        """With leading axes, as broadcasting adds them."""
        missing = rank - self.slots.ndim
        return self.moved(self.slots.reshape((1,) * missing + self.slots.shape))

    def reshaped(self, before: Dims, after: Dims) -> ChannelMap | None:
        """Behind a Reshape; None where unknown sizes hide where the channels go.

        Args:
            before: Sizes of the value's axes.
            after: Sizes of the axes of the result.
        """
        if self.slots.ndim != len(before):
            return None
        if not self.axes:
            return self.moved(np.full((1,) * len(after), self.slots.reshape(-1)[0]))
        full: list[int] = []
        shape: list[int] = []
        for own, new in _groups(before, after):
            varying = [axis for axis in own if self.slots.shape[axis] != 1]
            sizes = [size for axis in own if isinstance(size := before[axis], int)]
            wanted = [size for axis in new if isinstance(size := after[axis], int)]
            if varying and (len(sizes) < len(own) or len(wanted) < len(new)):
                return None
            full += sizes if varying else [1] * len(own)
            shape += wanted if varying else [1] * len(new)
        return self.moved(_collapsed(np.broadcast_to(self.slots, full).reshape(shape)))


def _groups(before: Dims, after: Dims) -> list[tuple[list[int], list[int]]]:
    """Runs of axes that hold the same elements before and after, as far as sizes tell it.

    Both ends are walked inwards; what lies between unknown sizes is one run.
    """
    left, i, j = _walk(before, after)
    right, m, n = _walk(before[i:][::-1], after[j:][::-1])
    ends = len(before), len(after)
    middle = (list(range(i, ends[0] - m)), list(range(j, ends[1] - n)))
    turned = [
        (sorted(ends[0] - 1 - a for a in own), sorted(ends[1] - 1 - a for a in new))
        for own, new in right[::-1]
    ]
    return [*left, *([middle] if middle[0] or middle[1] else []), *turned]


def _walk(before: Dims, after: Dims) -> tuple[list[tuple[list[int], list[int]]], int, int]:
    """Runs from the left, and where unknown sizes end them."""
    runs: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        ends = _run(before, after, i, j)
        if ends is None:
            break
        runs.append((list(range(i, ends[0])), list(range(j, ends[1]))))
        i, j = ends
    return runs, i, j


def _run(before: Dims, after: Dims, i: int, j: int) -> tuple[int, int] | None:
    """The ends of the shortest run from (i, j) with as many elements; None if sizes hide it."""
    own, new = i, j
    if i < len(before) and j < len(after) and before[i] is not None and before[i] == after[j]:
        return i + 1, j + 1
    first = second = 1
    while own == i or new == j or first != second:
        if own < len(before) and (own == i or first < second or new == len(after)):
            size, own = before[own], own + 1
            first *= size if isinstance(size, int) else 0
        elif new < len(after):
            size, new = after[new], new + 1
            second *= size if isinstance(size, int) else 0
        else:
            return (own, new) if first == second else None
        if not isinstance(size, int):
            return None
    return own, new


def _collapsed(slots: Array) -> Array:
    """One element along every axis on which nothing varies."""
    for axis in range(slots.ndim):
        first = np.take(slots, [0], axis=axis)
        if slots.shape[axis] > 1 and np.array_equal(np.broadcast_to(first, slots.shape), slots):
            slots = first
    return slots
