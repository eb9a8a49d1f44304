"""Operands that are numbers: shapes, axes, pads, given as constants or computed at run time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import onnx_ir as ir
import torch
from torch import Tensor

Ints: TypeAlias = "Tensor | Sequence[int] | int"
"""Integers known when the graph is built (a list), or computed at run time (an int64 tensor).

While torch.export traces, integers of a list may be symbols."""

Numbers: TypeAlias = "Tensor | Sequence[float] | float"

_DTYPES: dict[ir.DataType, torch.dtype] = {
    ir.DataType.FLOAT: torch.float32,
    ir.DataType.DOUBLE: torch.float64,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.BFLOAT16: torch.bfloat16,
    ir.DataType.UINT8: torch.uint8,
    ir.DataType.INT8: torch.int8,
    ir.DataType.UINT16: torch.uint16,
    ir.DataType.INT16: torch.int16,
    ir.DataType.UINT32: torch.uint32,
    ir.DataType.INT32: torch.int32,
    ir.DataType.UINT64: torch.uint64,
    ir.DataType.INT64: torch.int64,
    ir.DataType.BOOL: torch.bool,
    ir.DataType.COMPLEX64: torch.complex64,
}


def torch_dtype(code: int) -> torch.dtype:
    """The torch type of an ONNX element type number.

    Raises:
        KeyError: torch has no such type (strings, 4-bit integers).
    """
    return _DTYPES[ir.DataType(code)]


def ints(values: Ints) -> list[int]:
    """A list of ints; a scalar gives one."""
    if isinstance(values, Tensor):
        return [int(each) for each in values.reshape(-1).tolist()]
    if isinstance(values, (int, torch.SymInt)):
        return [values]
    return [each if isinstance(each, torch.SymInt) else int(each) for each in values]


def numbers(values: Numbers) -> list[float]:
    """A list of floats; a scalar gives one."""
    if isinstance(values, Tensor):
        return [float(each) for each in values.reshape(-1).tolist()]
    if isinstance(values, (int, float)):
        return [float(values)]
    return [float(each) for each in values]


def integer(value: Ints) -> int:
    """The only integer."""
    (only,) = ints(value)
    return only


def axes_of(axes: Ints | None, rank: int) -> list[int]:
    """Non-negative axes; all of them when none are given."""
    if axes is None:
        return list(range(rank))
    return [axis % rank for axis in ints(axes)]
