"""`PatchGram`: second moments of what a convolution reads, from a bounded number of positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from qcompiler.errors import CalibrationError
from qcompiler.ir.paddings import window_pads
from qcompiler.statistics.statistic import Moments

Index = tuple[Any, ...]
_GOLDEN = (5**0.5 - 1) / 2


def spread(total: int, wanted: int) -> npt.NDArray[np.int64]:
    """At most `wanted` of the numbers below `total`, evenly spread, with no period of their own.

    Multiples of the golden ratio (Weyl 1916), so that no column of an image is preferred.
    """
    if total <= wanted:
        return np.arange(total, dtype=np.int64)
    steps = (np.arange(wanted) + 0.5) * _GOLDEN % 1.0
    return np.unique((steps * total).astype(np.int64))


def numbers(text: str) -> tuple[int, ...]:
    """`3x3` as numbers."""
    return tuple(int(each) for each in text.split("x")) if text else ()


@dataclass(frozen=True, eq=False)
class PatchGram(Moments):
    """Second moments of the patches under a convolution's kernel: GPTQ, scales by output error.

    A row is what one output position sums over: the channels of a group, each under the whole
    kernel, in the order of the weight. Which positions are taken follows from the sizes alone, so
    the statistic does not depend on batching.

    Attributes:
        kernel: Sizes of the kernel, as `3x3`.
        strides: Steps, as `2x2`; empty for ones.
        dilations: As strides.
        pads: Begins, then ends, as `1x1x1x1`; empty for none.
        auto_pad: ONNX's attribute.
        groups: Groups of the convolution.
        positions: Most positions taken of each sample.
        moments: float64 [groups, K, K] with K channels of a group * elements of the kernel.
    """

    kernel: str = "1"
    strides: str = ""
    dilations: str = ""
    pads: str = ""
    auto_pad: str = "NOTSET"
    groups: int = 1
    positions: int = 64

    def update(self, batch: npt.ArrayLike) -> Self:
        rows = self._patches(np.asarray(batch).astype(np.float32, copy=False))
        kept = np.isfinite(rows).all(axis=(0, 2))
        rows = (rows if kept.all() else rows[:, kept]).astype(np.float64)
        if not rows.shape[1]:
            return self
        moments = np.matmul(rows.transpose(0, 2, 1), rows)
        return self.merge(replace(self, moments=moments, rows=rows.shape[1]))

    def _patches(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32 [groups, rows, K]."""
        kernel = numbers(self.kernel)
        if batch.ndim != len(kernel) + 2 or batch.shape[1] % self.groups:
            raise CalibrationError(
                f"a value of shape {batch.shape} has no patches of {self.kernel} in "
                f"{self.groups} groups"
            )
        ones = (1,) * len(kernel)
        strides, dilations = numbers(self.strides) or ones, numbers(self.dilations) or ones
        windows = _windows(self._padded(batch, kernel, strides, dilations), kernel, dilations)
        steps: Index = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
        windows = windows[steps]
        places = windows.shape[2 : 2 + len(kernel)]
        taken = np.unravel_index(spread(int(np.prod(places)), self.positions), places)
        where: Index = (slice(None), slice(None), *taken)
        rows = windows[where]  # [N, C, P, kernel...]
        items, channels, count = rows.shape[:3]
        grouped = rows.reshape(items, self.groups, channels // self.groups, count, -1)
        ordered = grouped.transpose(1, 0, 3, 2, 4)
        return ordered.reshape(self.groups, items * count, -1)

    def _padded(
        self,
        batch: npt.NDArray[np.float32],
        kernel: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
    ) -> npt.NDArray[np.float32]:
        sizes = batch.shape[2:]
        around = window_pads(
            sizes, kernel, strides, dilations, numbers(self.pads) or None, self.auto_pad
        )
        ends = zip(around[: len(kernel)], around[len(kernel) :], strict=True)
        return np.pad(batch, [(0, 0), (0, 0), *ends])


def _windows(
    padded: npt.NDArray[np.float32], kernel: Sequence[int], dilations: Sequence[int]
) -> npt.NDArray[np.float32]:
    """A view [N, C, places..., kernel...] of every place of a kernel, at stride 1."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    axes = tuple(range(2, 2 + len(kernel)))
    found = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=axes)
    steps: Index = (..., *(slice(None, None, d) for d in dilations))
    return found[steps]
