"""The integers of a quantized tensor in another shape or order; scales go with their axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qcompiler.errors import ConfigurationError
from qcompiler.qtensor.tensor import QTensor
from qcompiler.quantization.qspace import Granularity


def reshape(x: QTensor, *shape: Any) -> QTensor:
    """The same integers in another shape; -1 for what is left.

    Raises:
        ConfigurationError: Another number of elements, or channels that would lie across axes.
    """
    wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    try:
        data = x.data.reshape(tuple(int(each) for each in wanted))
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{x.shape} cannot become {tuple(wanted)}", fix="give a shape of as many elements"
        ) from error
    axis = x.axis
    if axis is None or data.shape == x.shape:
        return x.with_data(data)
    ahead = int(np.prod(x.shape[:axis]))
    for found, length in enumerate(data.shape):
        before = int(np.prod(data.shape[:found]))
        blocked = x.space.granularity is Granularity.GROUP and not x.space.is_table
        if length == x.shape[axis] and before == ahead and not blocked:
            return x.with_data(data, replace(x.params, axis=found))
    raise ConfigurationError(
        f"{x.shape} cannot become {data.shape}: axis {axis} has scales of its own, and is torn",
        fix="dequantize() first, or use one scale",
    )


def flatten(x: QTensor, start: int = 0) -> QTensor:
    """Joins the axes from `start` on into one."""
    if not -max(x.ndim, 1) <= start < max(x.ndim, 1):
        raise ConfigurationError(
            f"there is no axis {start} in a tensor of shape {x.shape}",
            fix="give an axis of the tensor",
        )
    return reshape(x, (*x.shape[: start % max(x.ndim, 1)], -1))


def transpose(x: QTensor, *axes: Any) -> QTensor:
    """The axes in another order, all reversed by default; scales go with their axis.

    Raises:
        ConfigurationError: Not each axis once.
    """
    given = axes[0] if len(axes) == 1 and isinstance(axes[0], Sequence) else axes
    order = tuple(given) or tuple(range(x.ndim))[::-1]
    if sorted(each % max(x.ndim, 1) for each in order) != list(range(x.ndim)):
        raise ConfigurationError(
            f"{order} is no order of the axes of {x.shape}", fix="name every axis once"
        )
    order = tuple(each % x.ndim for each in order)
    data = np.ascontiguousarray(x.data.transpose(order))
    params = x.params
    if params.axis is None:
        return x.with_data(data)
    moved = order.index(params.axis)
    if params.scale.ndim == x.ndim and x.space.group_size is not None:
        scale = np.ascontiguousarray(params.scale.transpose(order))
        point = np.ascontiguousarray(params.zero_point.transpose(order))
        return x.with_data(data, replace(params, scale=scale, zero_point=point, axis=moved))
    return x.with_data(data, replace(params, axis=moved))
