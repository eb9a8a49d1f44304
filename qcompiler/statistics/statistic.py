"""`Statistic`: a mergeable summary of the values seen at one place, in bounded memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from qcompiler.errors import CalibrationError

Arrays = dict[str, npt.NDArray[Any]]


class Statistic(ABC):
    """A commutative monoid over batches; never changed, `update` and `merge` return a new one.

    Observers (`qcompiler.quantization.observer`) are the statistics of the kind `range`.
    """

    @property
    @abstractmethod
    def count(self) -> int:
        """Rows seen."""

    @abstractmethod
    def update(self, batch: npt.ArrayLike) -> Self:
        """Adds a batch of any real dtype, taken as float32."""

    @abstractmethod
    def merge(self, other: Self) -> Self:
        """The statistic of both sets of values."""

    @abstractmethod
    def state(self) -> Arrays:
        """Arrays for a checkpoint; with the options, all there is to know."""

    @abstractmethod
    def restored(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """This empty statistic with the content that `state` gave."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Moments(Statistic):
    """Sums of products of the entries of rows, and the number of rows.

    Attributes:
        moments: float64, of a shape that the kind says; None before anything was seen.
        rows: Rows seen.
    """

    moments: npt.NDArray[np.float64] | None = None
    rows: int = 0

    @property
    def count(self) -> int:
        return self.rows

    def merge(self, other: Self) -> Self:
        if self.moments is None:
            return other
        if other.moments is None:
            return self
        return replace(self, moments=self.moments + other.moments, rows=self.rows + other.rows)

    def state(self) -> Arrays:
        if self.moments is None:
            return {}
        return {"moments": self.moments, "rows": np.asarray(self.rows)}

    def restored(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        if not state:
            return self
        return replace(self, moments=state["moments"], rows=int(state["rows"]))


def channels_last(batch: npt.ArrayLike, axis: int) -> npt.NDArray[np.float32]:
    """The batch as float32 [rows, channels], channels taken from `axis`.

    Raises:
        CalibrationError: The batch has no such axis.
    """
    array = np.asarray(batch).astype(np.float32, copy=False)
    if not -array.ndim <= axis < array.ndim:
        raise CalibrationError(f"a value of shape {array.shape} has no axis {axis} to observe")
    moved = np.moveaxis(array, axis, -1)
    return moved.reshape(-1, moved.shape[-1])
