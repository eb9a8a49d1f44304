"""What the numbers of an output say about what it is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_CLOSE = 2e-3
"""How far a sum of probabilities may be from 1: float16 rounds each of them by 2^-11."""
_LEAST_CLASSES = 10
"""Fewest outputs of a linear layer that are taken for class scores without a Softmax or a name:
four are a box."""
_CONFIDENT = 0.3
"""Least mean probability of the winner that a head trained by cross entropy shows."""
_VARIED = 0.5
"""Largest share of one class among the decisions of a head that gives one for each sample."""
_LEAST_COMPONENTS = 8
_MOST_ROWS = 4096


def probability_axis(samples: Sequence[Array]) -> int | None:
    """The axis, counted from the end, along which all samples are distributions; None if none is.

    The last such axis counts. Its length is 2 at least.
    """
    if not _bounded(samples):
        return None
    for axis in range(-1, -_rank(samples) - 1, -1):
        if all(each.shape[axis] >= 2 and _all_near(each.sum(axis), 1.0) for each in samples):
            return axis
    return None


def log_probability_axis(samples: Sequence[Array]) -> int | None:
    """The same of logarithms of distributions."""
    if not samples or any(not each.size or float(each.max()) > _CLOSE for each in samples):
        return None
    return probability_axis([np.exp(each.astype(np.float64)) for each in samples])


def are_probabilities(samples: Sequence[Array]) -> bool:
    """Whether all numbers lie in 0..1."""
    return _bounded(samples)


def unit_axis(samples: Sequence[Array]) -> int | None:
    """-1 if all rows along the last axis have length 1 and eight components at least."""
    if _rank(samples) < 1 or any(not each.size for each in samples):
        return None
    if any(each.shape[-1] < _LEAST_COMPONENTS for each in samples):
        return None
    lengths = (np.linalg.norm(each.astype(np.float64), axis=-1) for each in samples)
    return -1 if all(_all_near(each, 1.0) for each in lengths) else None


def axis_of(samples: Sequence[Array], features: int) -> int | None:
    """The axis, counted from the end, whose length is `features` in all samples, the last one."""
    for axis in range(-1, -_rank(samples) - 1, -1):
        if all(each.shape[axis] == features for each in samples):
            return axis
    return None


def look_like_classes(samples: Sequence[Array], axis: int) -> bool:
    """Whether unlabelled linear outputs behave like class scores.

    There are ten at least, the winner is clear on average, and it is not mostly the same: all of
    that is so of heads trained by cross entropy, and none of it for long of boxes or landmarks.
    Several rows of one sample (frames, tokens) may mostly be of one class, the blank.
    """
    if not samples or samples[0].shape[axis] < _LEAST_CLASSES:
        return False
    rows = rows_of(samples, axis)[:_MOST_ROWS]
    if len(rows) < 2 or not np.isfinite(rows).all():
        return False
    winners = np.bincount(rows.argmax(1), minlength=rows.shape[1])
    one_each = all(each.size == each.shape[axis] * each.shape[0] for each in samples)
    varied = winners.max() <= max(_VARIED * len(rows), 1) if one_each else (winners > 0).sum() > 2
    relative = np.exp(rows - rows.max(1, keepdims=True))
    return bool(varied and (1 / relative.sum(1)).mean() >= _CONFIDENT)


def rows_of(samples: Sequence[Array], axis: int, step: int = 1) -> Array:
    """float64 [rows, classes]: every `step`-th row of each sample, the class axis last."""
    moved = (np.moveaxis(each, axis, -1) for each in samples)
    return np.concatenate([e.reshape(-1, e.shape[-1])[::step].astype(np.float64) for e in moved])


def _bounded(samples: Sequence[Array]) -> bool:
    filled = [each for each in samples if each.size]
    return bool(filled) and all(
        bool(np.isfinite(each).all()) and each.min() >= -_CLOSE and each.max() <= 1 + _CLOSE
        for each in filled
    )


def _rank(samples: Sequence[Array]) -> int:
    """The common rank; 0 where ranks differ, so that no axis is found."""
    ranks = {each.ndim for each in samples}
    return ranks.pop() if len(ranks) == 1 else 0


def _all_near(found: Array, wanted: float) -> bool:
    return bool(found.size) and bool(np.abs(found.astype(np.float64) - wanted).max() <= _CLOSE)
