"""Sequences of frames that are decoded greedily (CTC: repeats are one symbol, blanks none).

Most flips of frames move the edge between a symbol and the blank beside it, and leave the text as
it is (Graves et al. 2006, Connectionist Temporal Classification, eq. 2: the map B). What counts is
the text: a flip of one frame matters if the frame, seen between its neighbours, then gives other
symbols, and shares are of symbols, so they are the character error rate against float.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.outputs.kinds import OutputKind, Purpose

Array = npt.NDArray[Any]

_LEAST_CLASSES = 20
_LEAST_BLANKS = 0.2
"""Share of frames that are blank where there is one: symbols are narrower than their frames."""
_LEAST_SYMBOLS = 4
_ALONE = 0.5
"""Share of the symbols' frames beside a blank, at least: CTC is spiky, tags and tokens are not."""


@dataclass(frozen=True)
class Frames:
    """How rows lie in time.

    Attributes:
        lengths: Frames of each sequence, in order.
        blank: Class of the blank.
    """

    lengths: tuple[int, ...]
    blank: int

    def texts(self, classes: Array) -> list[Array]:
        """The decoded symbols of every sequence."""
        starts = np.cumsum((0, *self.lengths))
        return [_collapsed(classes[a:b], self.blank) for a, b in itertools.pairwise(starts)]


def frames_of(kind: OutputKind, samples: Sequence[Array]) -> Frames | None:
    """How an output is decoded, if it looks like CTC; None otherwise.

    [batch, frames, classes] or [frames, 1, classes] with the blank first or last among twenty
    classes or more.
    """
    if kind.purpose is not Purpose.CLASSES or kind.axis != -1:
        return None
    if any(each.ndim != 3 or each.shape[-1] < _LEAST_CLASSES for each in samples):
        return None
    winners = [each.argmax(-1) for each in samples]
    winners = [each.T if each.shape[1] == 1 else each for each in winners]  # [batch, frames]
    lengths = tuple(each.shape[1] for each in winners for _ in range(each.shape[0]))
    flat = np.concatenate([each.ravel() for each in winners])
    if not flat.size or min(lengths) < 2:
        return None
    for blank in (0, samples[0].shape[-1] - 1):
        if _is_blank(flat, blank):
            return Frames(lengths, blank)
    return None


def changes_text(classes: Array, others: Array, frames: Frames) -> Array:
    """bool [n]: whether a frame that gives the other class, alone, changes the text.

    Args:
        classes: int [n], of every frame.
        others: int [n], what it would give instead.
        frames: Where sequences begin and end.
    """
    before, after = _neighbours(classes, frames)
    return np.asarray(
        _symbols(before, classes, after, frames.blank)
        != _symbols(before, others, after, frames.blank)
    )


def edits(left: Array, right: Array) -> int:
    """Levenshtein distance of two sequences of symbols."""
    row = np.arange(len(right) + 1)
    steps = np.arange(len(right) + 1)
    for number, symbol in enumerate(left, 1):
        other = np.empty_like(row)
        other[0] = number
        other[1:] = np.minimum(row[1:] + 1, row[:-1] + (right != symbol))
        row = np.minimum.accumulate(other - steps) + steps
    return int(row[-1])


def _is_blank(flat: Array, blank: int) -> bool:
    is_blank = flat == blank
    symbols = ~is_blank
    if is_blank.mean() < _LEAST_BLANKS or len(np.unique(flat[symbols])) < _LEAST_SYMBOLS:
        return False
    beside = np.zeros(flat.size, bool)
    beside[1:] |= is_blank[:-1]
    beside[:-1] |= is_blank[1:]
    return bool(beside[symbols].mean() >= _ALONE)


def _collapsed(classes: Array, blank: int) -> Array:
    kept = np.ones(classes.size, bool)
    kept[1:] = classes[1:] != classes[:-1]
    return np.asarray(classes[kept & (classes != blank)])


def _neighbours(classes: Array, frames: Frames) -> tuple[Array, Array]:
    """Classes before and behind every frame; blank at the ends of sequences."""
    ends = np.cumsum(frames.lengths)
    before, after = np.roll(classes, 1), np.roll(classes, -1)
    before[np.concatenate([[0], ends[:-1]])] = frames.blank
    after[ends - 1] = frames.blank
    return before, after


def _symbols(before: Array, own: Array, after: Array, blank: int) -> Array:
    """A number for the symbols that the middle and the last of three frames begin."""
    begins = (own != before) & (own != blank)
    last = (after != own) & (after != blank)
    first = np.where(begins, own + 1, np.where(last, after + 1, 0)).astype(np.int64)
    second = np.where(begins & last, after + 1, 0).astype(np.int64)
    return np.asarray(first << 32 | second)
