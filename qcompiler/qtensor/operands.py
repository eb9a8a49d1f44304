"""What arithmetic asks of its operands, and the parameters of its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError
from qcompiler.qtensor.tensor import QTensor
from qcompiler.quantization.parameters import choose_qparams
from qcompiler.quantization.qspace import Granularity, QParams

Array = npt.NDArray[Any]
Output = QTensor | QParams | tuple[Any, Any] | None
"""What a result is quantized with; see `qcompiler.qtensor.arithmetic`."""


def derived_params(exact: Array, like: QTensor) -> QParams:
    """Parameters that hold an exact result, in the space of the first operand, per tensor.

    Raises:
        ConfigurationError: It is beyond float32.
    """
    if not np.all(np.isfinite(exact)):
        raise ConfigurationError(
            "the result leaves float32, in which scales are kept", fix="scale the operands first"
        )
    space = replace(like.space, granularity=Granularity.TENSOR, group_size=None)
    return choose_qparams(exact.min(initial=0.0), exact.max(initial=0.0), space)


def result_params(output: Output, like: QTensor) -> QParams | None:
    """What a result is quantized with; None where that follows from the result.

    Raises:
        ConfigurationError: It has several scales, or levels from a table, or is no `output`.
    """
    if output is None:
        return None
    if isinstance(output, QTensor):
        found = output.params
    elif isinstance(output, QParams):
        found = output
    else:
        found = _from_pair(output, like)
    if found.axis is not None or found.space.is_table:
        raise ConfigurationError(
            "a result has one scale and even levels",
            where=f"output in {found.space.name}",
            fix="give an output that is quantized per tensor",
        )
    return found


def _from_pair(output: object, like: QTensor) -> QParams:
    from qcompiler.qtensor.quantizing import quantize as quantized

    if not isinstance(output, tuple | list) or len(output) != 2:
        raise ConfigurationError(
            f"{output!r} is no `output`", fix="give a QTensor, QParams or (scale, zero point)"
        )
    space = like.space
    # Full range, as everything with a given scale.
    made = quantized(0.0, space.used_bits, scale=output[0], zero_point=output[1], dtype=space.dtype)
    return made.params


def require_even(x: object, name: str) -> None:
    """Refuses what is no quantized tensor, or has levels from a table."""
    if not isinstance(x, QTensor):
        raise ConfigurationError(
            f"{name} takes quantized tensors, not {type(x).__name__}", fix="quantize it first"
        )
    if x.space.is_table:
        raise ConfigurationError(
            f"{name} has no integer arithmetic for {x.space.numbers}",
            why="its integers are indices into a table",
            fix="dequantize() first",
        )


def require_tensor(x: object, name: str) -> None:
    """The same, and several scales."""
    require_even(x, name)
    assert isinstance(x, QTensor)
    if x.axis is not None:
        raise ConfigurationError(
            f"{name} takes data of one scale", where=x.space.name, fix="quantize it per tensor"
        )


def require_channels(x: object, axis: int, name: str) -> None:
    """One scale, or one per output channel: others would have to be summed in float."""
    require_even(x, name)
    assert isinstance(x, QTensor)
    if x.axis is not None and (x.axis != axis or x.space.group_size is not None):
        raise ConfigurationError(
            f"{name} takes a weight of one scale, or one per output channel (axis {axis})",
            where=f"{x.space.name} on axis {x.axis}",
            fix="quantize the weight per tensor, or with axis=0",
        )


def per_axis(given: int | Sequence[int], count: int, name: str, least: int) -> list[int]:
    """One number for each spatial axis, from one or from as many."""
    found = [given] * count if isinstance(given, int) else list(given)
    if len(found) != count or any(
        not isinstance(one, int | np.integer) or one < least for one in found
    ):
        raise ConfigurationError(
            f"{name} {given!r} does not fit {count} spatial axes", fix=f"give {least} or more each"
        )
    return [int(one) for one in found]
