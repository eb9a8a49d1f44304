"""The kinds of statistics besides ranges: what accuracy passes are fitted from.

Every kind is a monoid with bounded state. Rows that hold NaN or infinity are left out. Sums are
float64: they do not depend on batching or order but for its rounding (1e-16 of the largest term);
ranges, which artifacts depend on, are exact (`qcompiler.quantization.observers`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError
from qcompiler.ir.requests import RANGE, Request
from qcompiler.quantization.observer import Observer
from qcompiler.quantization.observers import make_observer
from qcompiler.statistics.patches import PatchGram, spread
from qcompiler.statistics.statistic import Arrays, Moments, Statistic, channels_last

Vector = npt.NDArray[np.float64]


def _finite(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    kept = np.isfinite(rows).all(axis=1)
    return rows if kept.all() else rows[kept]


@dataclass(frozen=True, eq=False)
class ChannelExtremes(Statistic):
    """Smallest and largest value of every channel: cross-layer equalization, SmoothQuant.

    Attributes:
        axis: Channel axis of the value.
        low: float32 [channels]; None before anything was seen.
        high: float32 [channels].
        rows: Rows seen.
    """

    axis: int = 1
    low: npt.NDArray[np.float32] | None = None
    high: npt.NDArray[np.float32] | None = None
    rows: int = 0

    @property
    def count(self) -> int:
        return self.rows

    def update(self, batch: npt.ArrayLike) -> Self:
        found = _finite(channels_last(batch, self.axis))
        if not len(found):
            return self
        seen = replace(self, low=found.min(axis=0), high=found.max(axis=0), rows=len(found))
        return self.merge(seen)

    def merge(self, other: Self) -> Self:
        if self.low is None or self.high is None:
            return other
        if other.low is None or other.high is None:
            return self
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return replace(self, low=low, high=high, rows=self.rows + other.rows)

    def state(self) -> Arrays:
        if self.low is None or self.high is None:
            return {}
        return {"low": self.low, "high": self.high, "rows": np.asarray(self.rows)}

    def restored(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        if not state:
            return self
        return replace(self, low=state["low"], high=state["high"], rows=int(state["rows"]))


@dataclass(frozen=True, eq=False)
class ChannelMean(Statistic):
    """Mean of every channel: bias correction.

    Attributes:
        axis: Channel axis of the value.
        total: float64 [channels]; None before anything was seen.
        rows: Rows seen.
    """

    axis: int = 1
    total: Vector | None = None
    rows: int = 0

    @property
    def count(self) -> int:
        return self.rows

    @property
    def mean(self) -> Vector:
        """float64 [channels].

        Raises:
            ConfigurationError: Nothing was seen.
        """
        if self.total is None:
            raise ConfigurationError("nothing was observed, so there is no mean")
        return np.asarray(self.total / self.rows, np.float64)

    def update(self, batch: npt.ArrayLike) -> Self:
        found = _finite(channels_last(batch, self.axis))
        if not len(found):
            return self
        return self.merge(replace(self, total=self._summed(found), rows=len(found)))

    def _summed(self, rows: npt.NDArray[np.float32]) -> Vector:
        return np.asarray(rows.sum(axis=0, dtype=np.float64))

    def merge(self, other: Self) -> Self:
        if self.total is None:
            return other
        if other.total is None:
            return self
        return replace(self, total=self.total + other.total, rows=self.rows + other.rows)

    def state(self) -> Arrays:
        if self.total is None:
            return {}
        return {"total": self.total, "rows": np.asarray(self.rows)}

    def restored(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        if not state:
            return self
        return replace(self, total=state["total"], rows=int(state["rows"]))


@dataclass(frozen=True, eq=False)
class ChannelPower(ChannelMean):
    """Mean square of every channel, as `mean`: noise that a rounded weight adds (SmoothQuant)."""

    def _summed(self, rows: npt.NDArray[np.float32]) -> Vector:
        return np.asarray(np.einsum("rc,rc->c", rows, rows, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Gram(Moments):
    """Second moments X^T X of the rows: GPTQ (arXiv 2210.17323), scales by output error.

    Attributes:
        axis: The axis that a product sums over.
        positions: Most rows taken of each item along the first axis, evenly spread, where there
            are three axes or more; 0 takes all.
        moments: float64 [channels, channels].
    """

    axis: int = -1
    positions: int = 0

    def update(self, batch: npt.ArrayLike) -> Self:
        found = _finite(channels_last(self._taken(np.asarray(batch)), self.axis))
        found = found.astype(np.float64)
        if not len(found):
            return self
        return self.merge(replace(self, moments=np.asarray(found.T @ found), rows=len(found)))

    def _taken(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if not self.positions or batch.ndim < 3 or self.axis % batch.ndim == 0:
            return batch
        moved = np.moveaxis(batch, self.axis, -1)
        flat = moved.reshape(len(moved), -1, moved.shape[-1])
        rows = flat[:, spread(flat.shape[1], self.positions)]
        return np.moveaxis(
            rows.reshape(len(moved), -1, *(1,) * (batch.ndim - 3), moved.shape[-1]), -1, self.axis
        )


@dataclass(frozen=True, eq=False)
class Reservoir(Statistic):
    """A fixed number of rows, drawn without regard to order: reconstruction of layers.

    The rows with the smallest hashes are kept (bottom-k sampling, Cohen & Kaplan 2007), so the
    draw is the same for every batching, order and merge tree.

    Attributes:
        axis: The axis that stays whole; a row holds its elements.
        rows: How many rows are kept.
        kept: float32 [at most rows, channels]; None before anything was seen.
        seen: Rows seen.
    """

    axis: int = -1
    rows: int = 256
    kept: npt.NDArray[np.float32] | None = None
    seen: int = 0

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ConfigurationError(f"a reservoir of {self.rows} rows keeps nothing")

    @property
    def count(self) -> int:
        return self.seen

    def update(self, batch: npt.ArrayLike) -> Self:
        found = _finite(channels_last(batch, self.axis))
        if not len(found):
            return self
        return self.merge(replace(self, kept=self._drawn(found), seen=len(found)))

    def merge(self, other: Self) -> Self:
        if self.kept is None:
            return other
        if other.kept is None:
            return self
        both = self._drawn(np.concatenate([self.kept, other.kept]))
        return replace(self, kept=both, seen=self.seen + other.seen)

    def _drawn(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        keys = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
        order = sorted(range(len(rows)), key=keys.__getitem__)[: self.rows]
        return np.ascontiguousarray(rows[order])

    def state(self) -> Arrays:
        if self.kept is None:
            return {}
        return {"kept": self.kept, "seen": np.asarray(self.seen)}

    def restored(self, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        return replace(self, kept=state["kept"], seen=int(state["seen"])) if state else self


KINDS: Mapping[str, Callable[..., Statistic]] = MappingProxyType(
    {
        "channel-extremes": ChannelExtremes,
        "channel-mean": ChannelMean,
        "channel-power": ChannelPower,
        "gram": Gram,
        "patch-gram": PatchGram,
        "rows": Reservoir,
    }
)
"""Kinds by name, ranges aside."""


def collector(request: Request) -> Statistic | Observer:
    """The empty statistic that a request asks for.

    Raises:
        ConfigurationError: An unknown kind, method or option.
    """
    given = dict(request.given)
    if request.kind == RANGE:
        return make_observer(str(given.pop("method", "minmax")), **given)
    if request.kind not in KINDS:
        raise ConfigurationError(
            f"there is no kind of statistic {request.kind!r}",
            fix=f"ask for one of {', '.join([RANGE, *KINDS])}",
        )
    try:
        return KINDS[request.kind](**given)
    except TypeError as error:
        raise ConfigurationError(
            f"'{request.kind}' does not take {given}", why=str(error)
        ) from error
