"""`Rounding`: the integers chosen for a weight, and the memory that computes each of them once.

One weight is asked for in one space by legality (would it saturate?), by sensitivities and by every
candidate. Inside `remembered()` all of them are given the same arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.decisions.absorbed import NOTHING, SOURCE, TRAINED, Absorbed
from qcompiler.errors import ConfigurationError
from qcompiler.ir.optraits import weight_channel_axis
from qcompiler.ir.walk import is_op, rank, stored_array, stored_identity
from qcompiler.quantization.numerics import quantize
from qcompiler.quantization.parameters import weight_qparams
from qcompiler.quantization.qspace import Granularity, QParams, QSpace

Array = npt.NDArray[Any]
NEAREST, GUARDED = "nearest", "guarded"


@dataclass(frozen=True, eq=False)
class Rounding:
    """A constant in integers.

    Attributes:
        params: Scale and zero point.
        integers: Values of the space's storage type, in the constant's shape.
        how: Who chose them: `nearest`, `guarded` (a channel's scale was raised so that its bias
            fits int32), `source` (the model came with them), `trained` (training here chose the
            grid), or the name of an accuracy pass.

    Raises:
        ConfigurationError: The integers are of another type than the space stores.
    """

    params: QParams
    integers: Array
    how: str = NEAREST

    def __post_init__(self) -> None:
        if self.integers.dtype != self.params.space.dtype.numpy():
            raise ConfigurationError(
                f"integers of {self.integers.dtype} are none of {self.params.space.name}"
            )

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for roundings of one weight that have the same integers.

        Nearest integers and the source's follow from the parameters; others are known by identity.
        """
        params = self.params
        whose = (
            id(self.integers) if self.how not in (NEAREST, GUARDED, SOURCE, TRAINED) else NEAREST
        )
        parts = (params.scale, params.zero_point, params.levels)
        return params.space, params.axis, *map(_digest, parts), whose

    def transposed(self) -> Rounding:
        """The same of the matrix turned over; blocks and channels stay on their elements."""
        params, axis = self.params, self.params.axis
        grouped = params.scale.ndim > 1
        turned = replace(
            params,
            scale=np.ascontiguousarray(params.scale.T) if grouped else params.scale,
            zero_point=np.ascontiguousarray(params.zero_point.T) if grouped else params.zero_point,
            axis=None if axis is None else 1 - axis,
        )
        return replace(self, params=turned, integers=np.ascontiguousarray(self.integers.T))


def _digest(array: Array | None) -> bytes:
    """Of numbers that may be as many as a tenth of the weights, and stand in many keys."""
    if array is None:
        return b""
    total = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
    total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.digest()


_Key = tuple[tuple[object, ...], QSpace, int | None]


@dataclass(frozen=True, eq=False)
class _Memory:
    """What is known of weights: those rounded so far, and what their author did."""

    rounded: dict[_Key, Rounding]
    source: Absorbed


_memory: ContextVar[_Memory | None] = ContextVar("roundings")


@contextmanager
def remembered(source: Absorbed | None = None) -> Iterator[None]:
    """Inside, each (weight, space, axis) is rounded once; memory is freed at the end.

    Nested calls share the outer one's memory. Threads and processes have their own.

    Args:
        source: What the author of a quantized model decided; the outer call's if None.
    """
    outer = _memory.get(None)
    if outer is not None and (source is None or source is outer.source):
        yield
        return
    token = _memory.set(_Memory({}, source or NOTHING))
    try:
        yield
    finally:
        _memory.reset(token)


def nearest(node: ir.Node, value: ir.Value, space: QSpace) -> Rounding | None:
    """The weight `value` of `node` in integers of `space`; None if it is not stored.

    Those that its author chose, where `space` has them; the nearest ones otherwise.

    Raises:
        ConfigurationError: The weight holds NaN or infinity.
    """
    identity = stored_identity(value)
    if identity is None:
        return None
    layout, axis = weight_layout(node, space, rank(value) or 0)
    memory = _memory.get(None)
    key = (identity, layout, axis)
    if memory is not None and key in memory.rounded:
        return memory.rounded[key]
    array = stored_array(value)
    if array is None:
        return None
    exact = np.asarray(array, np.float32)
    if memory is None:
        return rounded(exact, layout, axis)
    found = memory.source.weight(exact, layout, axis)
    memory.rounded[key] = (
        rounded(exact, layout, axis) if found is None else Rounding(*found, how=memory.source.how)
    )
    return memory.rounded[key]


def rounded(array: Array, space: QSpace, axis: int | None) -> Rounding:
    """A float array in the nearest integers under its own minimum and maximum."""
    params = weight_qparams(array, space, axis)
    return Rounding(params, quantize(array, params))


def weight_layout(node: ir.Node, space: QSpace, rank: int) -> tuple[QSpace, int | None]:
    """The space and axis for this op's weight; per tensor where channels lie on no single axis."""
    axis = _axis(node, space, rank)
    if axis is None and space.granularity is not Granularity.TENSOR:
        return space.with_granularity(Granularity.TENSOR), None
    return space, axis


def _axis(node: ir.Node, space: QSpace, rank: int) -> int | None:
    if space.granularity is Granularity.TENSOR:
        return None
    if space.granularity is Granularity.GROUP and not space.is_table:
        return reduction_axis(node, rank)
    return 1 if is_op(node, "LSTM", "GRU", "RNN") else weight_channel_axis(node)


def reduction_axis(node: ir.Node, rank: int = 2) -> int:
    """The axis of a MatMul or Gemm weight that is summed over; of a table, that of its rows."""
    if is_op(node, "Gather"):
        return rank - 1
    turned = is_op(node, "Gemm") and node.attributes.get_int("transB", 0) == 1
    return rank - 1 if turned else rank - 2
