"""`Observer`: a mergeable summary of the values seen at one place, and the range it picks.

Every observer is an immutable commutative monoid: `empty`, `update(batch)`, `merge(other)`. The
result is bit-identical for every split of the data along axis 0, every order and every merge
tree (T1; ORT issues 18893, 18792; Model-Optimizer issue 619). State is bounded. NaN and infinities
are counted and never enter a range.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.quantization.bounds import Bounds
from qcompiler.quantization.qspace import QSpace, Range

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Observer(ABC):
    """A summary of values; never changed, `update` and `merge` return a new one.

    Class attributes:
        name: Name in `OBSERVERS`.
        options: Fields that configure the method; only observers that agree in them merge.

    Attributes:
        bounds: Exact extremes and counts.
    """

    name: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def count(self) -> int:
        """Finite values seen."""
        return self.bounds.count

    @property
    def low(self) -> float:
        return self.bounds.low

    @property
    def high(self) -> float:
        return self.bounds.high

    @property
    def low_without_sentinel(self) -> float:
        """Smallest value that is no attention-mask sentinel (see `Bounds.has_sentinel`)."""
        return self.bounds.low_without_sentinel

    @property
    def nonfinite(self) -> tuple[int, int, int]:
        """Counts of -inf, +inf and NaN."""
        return self.bounds.nonfinite

    @classmethod
    def empty(cls, **options: Any) -> Self:
        """An observer that has seen nothing.

        Raises:
            ConfigurationError: An option that the method does not have.
        """
        unknown = set(options) - set(cls.options)
        if unknown:
            raise ConfigurationError(
                f"{cls.name} has no option {', '.join(sorted(unknown))}",
                fix="docs/options.md lists the calibration methods",
            )
        return cls(**options)

    def update(self, batch: npt.ArrayLike) -> Self:
        """Adds a batch: [rows, ...], any real dtype (taken as float32); a scalar is one row."""
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf and is counted so
            values = np.asarray(batch).astype(np.float32, copy=False)
        if values.size == 0:
            return self
        bounds = Bounds.of(values)
        return replace(self, bounds=self.bounds.merge(bounds), **self._add(values, bounds))

    def merge(self, other: Observer) -> Self:
        """The observer of both sets of values.

        Raises:
            ConfigurationError: Another method, or other options.
        """
        if not isinstance(other, type(self)) or self._settings() != other._settings():
            raise ConfigurationError(f"observers {self} and {other} differ and cannot be merged")
        return replace(self, bounds=self.bounds.merge(other.bounds), **self._join(other))

    def range_for(self, space: QSpace) -> Range:
        """The range this method picks for a space.

        Raises:
            CalibrationError: No finite value was seen.
        """
        if self.count == 0:
            minus, plus, nan = self.nonfinite
            raise CalibrationError(
                "no finite value was observed",
                why=f"seen: {minus} x -inf, {plus} x +inf, {nan} x NaN",
                fix="check the calibration data and that this part of the model runs on it",
            )
        return self._pick(space)

    def state(self) -> Arrays:
        """Arrays for a checkpoint (npz); `from_state` reads them."""
        arrays = {f"bounds.{key}": value for key, value in self.bounds.state().items()}
        arrays |= {f"option.{key}": np.asarray(value) for key, value in self._settings().items()}
        return arrays | {"name": np.asarray(self.name)} | self._save()

    def _settings(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in self.options}

    def _add(self, values: npt.NDArray[np.float32], bounds: Bounds) -> dict[str, Any]:
        """Changed fields after a batch with the given bounds."""
        return {}

    def _join(self, other: Any) -> dict[str, Any]:
        """Changed fields after a merge with an observer of the same class."""
        return {}

    def _save(self) -> Arrays:
        return {}

    @classmethod
    def load(cls, state: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        """Fields from the arrays that `_save` gave."""
        return {}

    @abstractmethod
    def _pick(self, space: QSpace) -> Range:
        """The range, when at least one finite value was seen."""

    def __str__(self) -> str:
        options = ", ".join(f"{key}={value}" for key, value in self._settings().items())
        return f"{self.name}({options})"
