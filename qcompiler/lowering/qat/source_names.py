"""Constants of a program as what the source stores, so that its names are the module's.

Exporters turn and rename weights on the way (`linear.weight` becomes a transposed constant
`val_17`). A constant is known by its name if it still has that, by what it holds otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]
_Key = tuple[int, float, float]
_MOST_AXES = 5


@dataclass(frozen=True)
class Stored:
    """A tensor of the source, and how a constant is made of it.

    Attributes:
        name: In the source.
        order: Axes of the constant, as axes of the tensor; None leaves them.
        shape: Of the constant, if it is not the turned tensor's.
    """

    name: str
    order: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None

    @property
    def is_plain(self) -> bool:
        return self.order is None and self.shape is None


class SourceTensors:
    """Tensors of a source by name.

    Args:
        state: Float tensors.
        trained: Names of those that have a gradient.
    """

    def __init__(self, state: Mapping[str, Array], trained: Collection[str]) -> None:
        self.state = dict(state)
        self.trained = frozenset(trained)
        self._by_content: dict[_Key, list[str]] = {}
        for name, array in self.state.items():
            key = _key(array)
            if key is not None:
                self._by_content.setdefault(key, []).append(name)

    def find(self, name: str, array: Array) -> Stored | None:
        """The source tensor that a constant is; None if it is none of them."""
        own = self.state.get(name)
        if own is not None and own.shape == array.shape and np.array_equal(own, array):
            return Stored(name)
        key = _key(array)
        for candidate in self._by_content.get(key, ()) if key is not None else ():
            found = _layout(self.state[candidate], array)
            if found is not None:
                return Stored(candidate, *found)
        return None


def _key(array: Array) -> _Key | None:
    """What turning and reshaping keep; None where all numbers are one, which tell nothing."""
    if not array.size:
        return None
    low, high = float(array.min()), float(array.max())
    return None if low == high or not np.isfinite(low + high) else (int(array.size), low, high)


def _layout(
    source: Array, array: Array
) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None] | None:
    """How the array is the source in other axes, None if it is not."""
    if source.shape == array.shape and np.array_equal(source, array):
        return None, None
    if 1 < source.ndim <= _MOST_AXES:
        for order in itertools.permutations(range(source.ndim)):
            turned = source.transpose(order)
            moved = order != tuple(range(source.ndim))
            if moved and turned.shape == array.shape and np.array_equal(turned, array):
                return order, None
    if np.array_equal(source.reshape(array.shape), array):
        return None, tuple(array.shape)
    back = tuple(reversed(range(source.ndim)))
    same = np.array_equal(source.transpose(back).reshape(array.shape), array)
    return (back, tuple(array.shape)) if same else None


def laid_out(
    tensor: Tensor, order: tuple[int, ...] | None, shape: tuple[int, ...] | None
) -> Tensor:
    """The tensor as the program has it."""
    turned = tensor if order is None else tensor.permute(order)
    return turned if shape is None else turned.reshape(shape)


def state_of(model: Any) -> tuple[dict[str, Array], set[str], list[tuple[str, str]]]:
    """Float tensors of a torch source, which of them have a gradient, and second names.

    Args:
        model: A module or an ExportedProgram.
    """
    if isinstance(model, torch.export.ExportedProgram):
        state = model.state_dict
        trained = set(model.graph_signature.parameters)
    else:
        state = model.state_dict()
        named = model.named_parameters(remove_duplicate=False)
        trained = {name for name, each in named if each.requires_grad}
    arrays: dict[str, Array] = {}
    first: dict[tuple[int, torch.Size], str] = {}
    again = []
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tensor.shape)
        if tensor.numel() and first.setdefault(key, name) != name:
            again.append((name, first[key]))
        elif isinstance(tensor, Tensor) and tensor.is_floating_point():
            arrays[name] = tensor.detach().cpu().float().numpy().copy()
    return arrays, trained, again
