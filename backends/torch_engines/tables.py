"""Tables that are looked up: which have a kernel, and their rows in unsigned integers.

The placed form is Gather of a DequantizeLinear of a stored matrix, with one scale and zero point
per row (or one for all).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.walk import is_op
from qcompiler.lowering.torch_fx.constants import array_of

_OFFSETS = {
    ir.DataType.UINT8: (8, 0),
    ir.DataType.INT8: (8, 128),
    ir.DataType.UINT4: (4, 0),
    ir.DataType.INT4: (4, 8),
}
"""Bits of a stored type, and what makes its integers unsigned."""
HALF_RANGE = (2.0**-6, 2.0**15)
"""Largest magnitude of a 4-bit table, from and to: its scales and biases are float16."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A table in unsigned integers.

    Attributes:
        values: uint8 [rows, columns].
        scale: float32 [rows].
        zero_point: int64 [rows].
        bits: 8 or 4.
    """

    values: npt.NDArray[np.uint8]
    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    bits: int


def stored_rows(gather: ir.Node) -> Rows | None:
    """The table of a look-up that has a kernel, None for any other Gather."""
    source = gather.inputs[0].producer() if gather.inputs[0] is not None else None
    if source is None or not is_op(source, "DequantizeLinear"):
        return None
    data = source.inputs[0]
    if data is None or data.dtype not in _OFFSETS or (source.attributes.get_int("block_size") or 0):
        return None
    values, scale = array_of(data), array_of(source.inputs[1])
    zero = array_of(source.inputs[2]) if len(source.inputs) > 2 else None
    if values is None or scale is None or values.ndim != 2 or scale.dtype != np.float32:
        return None
    by_rows = scale.size == 1 or source.attributes.get_int("axis", 1) % 2 == 0
    if not by_rows or gather.attributes.get_int("axis", 0) % 2 != 0:
        return None
    bits, offset = _OFFSETS[data.dtype]
    points = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    steps = np.broadcast_to(scale.reshape(-1), values.shape[:1])
    if bits == 4 and not _fits_half(steps):
        return None
    return Rows(
        (values.astype(np.int16) + offset).astype(np.uint8),
        steps,
        np.broadcast_to(points.reshape(-1) + offset, values.shape[:1]),
        bits,
    )


def table_objection(table: npt.NDArray[Any], bits: int) -> str | None:
    """Why a float table has no form of so many bits, None if it has."""
    largest = float(np.abs(table).max(initial=0.0))
    low, high = HALF_RANGE
    if bits == 4 and not low <= largest <= high:
        return f"scales are float16: the largest element must lie in [{low}, {high}]"
    return None


def _fits_half(scale: npt.NDArray[np.float32]) -> bool:
    low, high = HALF_RANGE
    return low / 15 <= float(scale.max(initial=0.0)) <= high / 7
