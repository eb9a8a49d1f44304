"""Cross-layer equalization: ranges of weights on both sides of a value are made equal.

Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction (arXiv
1906.04721), section 4.1: s = √(r1 / r2), with r1 the range of the weights that write a channel and
r2 that of the weights that read it, over all pairs of layers until nothing changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.ir.walk import stored_array
from qcompiler.passes.equalization.analysis import Scales
from qcompiler.passes.equalization.constraints import Fold
from qcompiler.passes.equalization.folding import LARGEST, factor_of

Array = npt.NDArray[Any]

_SWEEPS = 60
_SETTLED = 1e-3
"""Largest change of a logarithm that ends the sweeps."""


def reduced_weight(fold: Fold) -> Array:
    """float64: magnitudes of a weight, the largest along axes on which no scale varies."""
    array = stored_array(fold.node.inputs[fold.index])
    assert array is not None
    shapes = [each.shape for each in (fold.reads, fold.writes) if each is not None]
    shape = np.broadcast_shapes(*shapes)
    flat = tuple(axis for axis in range(array.ndim) if shape[axis - array.ndim + len(shape)] == 1)
    return np.asarray(np.abs(array.astype(np.float64)).max(axis=flat, keepdims=True))


def equalized(found: Scales, low: Array, high: Array) -> Array:
    """Logarithms of the scales, float64 [components], at which both ranges are equal.

    Args:
        found: The scales that may be chosen.
        low: Their lowest logarithms.
        high: Their highest.
    """
    weights = [(fold, reduced_weight(fold)) for fold in found.folds if fold.is_weight]
    logs = np.zeros(found.freedom.count)
    limit = np.log(LARGEST)
    for _ in range(_SWEEPS):
        written, read = _ranges(found, weights, logs)
        both = (written > 0) & (read > 0)
        both[0] = False
        step = np.zeros_like(logs)
        step[both] = np.log(written[both] / read[both]) / 2
        new = np.clip(logs + step, np.maximum(low, -limit), np.minimum(high, limit))
        change, logs = np.abs(new - logs).max(initial=0.0), new
        if change < _SETTLED:
            break
    return logs


def _ranges(found: Scales, weights: list[tuple[Fold, Array]], logs: Array) -> tuple[Array, Array]:
    """Largest magnitudes of the weights that write and that read each component."""
    scales = found.freedom.scales(logs)
    written, read = np.zeros(logs.size), np.zeros(logs.size)
    for fold, magnitudes in weights:
        now = magnitudes * factor_of(fold, scales)
        for slots, ranges in ((fold.writes, written), (fold.reads, read)):
            if slots is not None:
                each = np.broadcast_to(found.freedom.component[slots], now.shape)
                np.maximum.at(ranges, each.reshape(-1), now.reshape(-1))
    return written, read
