"""Sequences and optionals: a sequence is a Python list, an omitted optional is None."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qcompiler.lowering.torch_fx.ops.operands import Ints, integer, ints


def empty(*, dtype: int = 1) -> list[Tensor]:
    """SequenceEmpty."""
    del dtype
    return []


def construct(*values: Tensor) -> list[Tensor]:
    """SequenceConstruct."""
    return list(values)


def insert(sequence: list[Tensor], value: Tensor, position: Ints | None = None) -> list[Tensor]:
    """SequenceInsert, at the end by default."""
    place = len(sequence) if position is None else integer(position)
    place = place + len(sequence) if place < 0 else place
    return [*sequence[:place], value, *sequence[place:]]


def erase(sequence: list[Tensor], position: Ints | None = None) -> list[Tensor]:
    """SequenceErase, the last element by default."""
    place = -1 if position is None else integer(position)
    place = place + len(sequence) if place < 0 else place
    return [*sequence[:place], *sequence[place + 1 :]]


def at(sequence: list[Tensor], position: Ints) -> Tensor:
    """SequenceAt; negative positions count from the end."""
    return sequence[integer(position)]


def length(sequence: list[Tensor]) -> Tensor:
    """SequenceLength as an int64 scalar."""
    return torch.tensor(len(sequence), dtype=torch.int64)


def split(
    x: Tensor, sizes: Ints | None = None, *, axis: int = 0, keepdims: int = 1
) -> list[Tensor]:
    """SplitToSequence: by sizes, in parts of one size, or into slices of 1."""
    if sizes is None:
        parts = list(torch.split(x, 1, dim=axis))
        return parts if keepdims else [part.squeeze(axis) for part in parts]
    scalar = isinstance(sizes, int) or (isinstance(sizes, Tensor) and sizes.dim() == 0)
    given = ints(sizes)
    return list(torch.split(x, given[0] if scalar else given, dim=axis))


def concat(sequence: list[Tensor], *, axis: int, new_axis: int = 0) -> Tensor:
    """ConcatFromSequence; `new_axis` stacks."""
    return torch.stack(sequence, dim=axis) if new_axis else torch.cat(sequence, dim=axis)


def optional(value: Any = None, **_: Any) -> Any:
    """Optional: the value, or nothing."""
    return value


def get_element(value: Any) -> Any:
    """OptionalGetElement."""
    return value


def has_element(value: Any = None) -> Tensor:
    """OptionalHasElement as a boolean scalar."""
    return torch.tensor(value is not None)
