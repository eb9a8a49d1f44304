"""What of an output differs from sample to sample; the rest tells nothing of the input.

A network that rates speech gives 2.5 give or take 0.1. Noise of 21 dB below 2.5 is twice what it
has to say, so that the noise allowed is a share of what varies. The same holds of embeddings which
all point nearly the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_FEWEST = 8
"""Rows from which a mean is known: its own error is an eighth of the variance at most."""
_LEAST = 1e-4
"""A smaller share counts as this one: beyond it float is no better defined than the rounding of
its engine, and the samples are more alike than what they stand for."""


def varying_share(samples: Sequence[Any], unit: bool = False) -> float:
    """Power around the mean over power, 1e-4 to 1; 1 where too little is known.

    Rows (the first axis, of all samples) have a mean for each component where they are vectors or
    numbers. Other outputs have one mean for all elements, since positions are not alike in every
    use: what is the same at one place of all samples may be an image's border.

    Args:
        samples: An output per sample, of float.
        unit: Whether directions count: rows along the last axis, made of length 1.
    """
    rows = _rows(samples, unit)
    if rows is None or len(rows) < _FEWEST or not np.isfinite(rows).all():
        return 1.0
    total = float(np.square(rows).sum())
    varying = float(np.square(rows - rows.mean(0)).sum()) * len(rows) / (len(rows) - 1)
    if total == 0 or varying <= 0:
        return 1.0  # constant: nothing is known of what it tells
    return min(max(varying / total, _LEAST), 1.0)


def _rows(samples: Sequence[Any], unit: bool) -> Array | None:
    """float64 [rows, components]; None where samples are no rows of one length."""
    if not samples or not all(_are_numbers(each) for each in samples):
        return None
    if unit:
        return _row_directions(samples)
    if max(each.ndim for each in samples) > 2:
        return np.concatenate([each.reshape(-1, 1) for each in samples]).astype(np.float64)
    parts = [each.reshape(len(each), -1) if each.ndim else each.reshape(1, 1) for each in samples]
    if len({each.shape[1] for each in parts}) != 1:
        return None
    return np.concatenate(parts).astype(np.float64)


def directions(rows: Array) -> Array:
    """float64 rows along the last axis with length 1; what has no rows of floats as it is."""
    if rows.dtype.kind != "f" or not rows.ndim:
        return rows
    plain = rows.astype(np.float64)
    lengths = np.linalg.norm(plain, axis=-1, keepdims=True)
    return np.asarray(np.divide(plain, lengths, out=np.zeros_like(plain), where=lengths > 0))


def _row_directions(samples: Sequence[Array]) -> Array | None:
    if len({each.shape[-1] if each.ndim else 0 for each in samples}) != 1 or not samples[0].ndim:
        return None
    return np.concatenate([directions(each).reshape(-1, each.shape[-1]) for each in samples])


def _are_numbers(sample: Any) -> bool:
    """Whether a sample is floats; a sequence of tensors and an absent one are none."""
    return (
        isinstance(sample, np.ndarray | np.generic) and sample.dtype.kind == "f" and sample.size > 0
    )
