"""`View`: what is judged as one: an output, a part of one, or parts of several.

A detector joins boxes and scores in one tensor, or gives the scores of every scale of its pyramid
as an output of its own. Detections are read off all scores together, so they are one thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class View:
    """Elements of outputs.

    Attributes:
        name: Of the output, or of the outputs.
        parts: Positions of outputs, each with the number of a group of its elements; None takes
            the output as it is.
        factor: Group of the one part's output that its elements are multiplied by: a class counts
            where there is an object.
    """

    name: str
    parts: tuple[tuple[int, int | None], ...]
    factor: int | None = None

    @property
    def whole(self) -> int | None:
        """The position of the one output that this is; None for parts and several."""
        (position, group), *more = self.parts
        return position if group is None and not more else None

    def of(self, outputs: Sequence[Any], groups: Sequence[Array | None]) -> Any:
        """The elements: the output as it is, or one flat array.

        Where a shape is not the one that groups are known for, the array is empty: nothing can be
        compared.

        Args:
            outputs: Of one sample.
            groups: By output, the group of every element of this sample; None if all are of 0.
        """
        if self.whole is not None:
            return outputs[self.whole]
        found = []
        for position, group in self.parts:
            array, inside = np.asarray(outputs[position]), groups[position]
            if group is None or inside is None:
                found.append(array.ravel())
            elif inside.shape != array.shape:
                return np.empty(0, array.dtype)
            elif self.factor is None:
                found.append(array[inside == group])
            else:
                found.append(_product(array, inside, group, self.factor))
        return np.concatenate(found)


def channels(inside: Array, group: int) -> tuple[int, Array] | None:
    """The axis and the indices on it that a group is; None where it is no set of channels."""
    mask = inside == group
    for axis in range(1, mask.ndim):
        lines = np.moveaxis(mask, axis, 0).reshape(mask.shape[axis], -1)
        if (lines == lines[:, :1]).all() and 0 < lines[:, 0].sum() < len(lines):
            return axis, np.flatnonzero(lines[:, 0])
    return None


def _product(array: Array, inside: Array, group: int, factor: int) -> Array:
    own, other = channels(inside, group), channels(inside, factor)
    if own is None or other is None or own[0] != other[0] or len(other[1]) != 1:
        return np.empty(0, array.dtype)
    factors = np.take(array, other[1], own[0])
    return np.asarray(np.take(array, own[1], own[0]) * factors).ravel()
