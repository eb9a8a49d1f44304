"""Where the step of a weight starts: with few levels, not at its largest number.

With 8 bits the extremes cost little. With 4 bits and less the step that rounds best leaves the
tails out; training moves on from there (LSQ starts from 2 * mean|w| / sqrt(Qp), which is between).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.quantization.numerics import expand
from qcompiler.quantization.qspace import QParams

Array = npt.NDArray[Any]
_FEW_LEVELS = 16
_SHARES = np.linspace(0.3, 1.0, 29)


def first_params(weight: Array, params: QParams) -> QParams:
    """Parameters with the scale of least squared error, by channel or group; zero points stay.

    Args:
        weight: Float, of any shape.
        params: From its extremes.
    """
    space = params.space
    if space.is_float or space.is_table or space.qmax - space.qmin >= _FEW_LEVELS:
        return params
    exact = np.asarray(weight, np.float32)
    zero = expand(params.zero_point, exact.shape, params)
    best, least = params.scale.copy(), np.full(params.scale.shape, np.inf)
    for share in _SHARES:
        scale = np.asarray(params.scale * share, np.float32)
        wide = expand(scale, exact.shape, params)
        steps = np.clip(np.rint(exact / wide) + zero, space.qmin, space.qmax) - zero
        error = _shared(np.square(exact - steps * wide), params)
        better = error < least
        best, least = np.where(better, scale, best), np.where(better, error, least)
    return QParams(np.asarray(best, np.float32), params.zero_point, space, params.axis)


def _shared(errors: Array, params: QParams) -> Array:
    """Sums over what shares a scale, in the scale's shape."""
    if params.axis is None or params.scale.ndim == 0:
        return np.asarray(errors.sum()).reshape(params.scale.shape)
    axis = params.axis % errors.ndim
    if params.space.group_size is None:
        return np.asarray(errors.sum(axis=tuple(i for i in range(errors.ndim) if i != axis)))
    starts = np.arange(0, errors.shape[axis], params.space.group_size)
    return np.asarray(np.add.reduceat(errors, starts, axis=axis))
