"""Operands that are numbers: shapes, axes, pads, given as constants or computed at run time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Ints: TypeAlias = "Tensor | Sequence[int] | int"
"""Integers known when the graph is built (a list), or computed at run time (an int64 tensor).

While torch.export traces, integers of a list may be symbols."""

Numbers: TypeAlias = "Tensor | Sequence[float] | float"


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


def number(value: Numbers) -> float:
    """The only number, in its own kind: integers stay exact."""
    if isinstance(value, Tensor):
        only: float = value.reshape(()).item()
        return only
    if isinstance(value, (int, float, torch.SymInt)):
        return value
    (only,) = value
    return only


def integer(value: Ints) -> int:
    """The only integer."""
    (only,) = ints(value)
    return only


def axes_of(axes: Ints | None, rank: int) -> list[int]:
    """Non-negative axes; all of them when none are given."""
    if axes is None:
        return list(range(rank))
    return [axis % rank for axis in ints(axes)]
