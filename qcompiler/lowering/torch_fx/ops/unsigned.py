"""Unsigned integers of 16, 32 and 64 bits, computed by numpy: torch only stores them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

TYPES = frozenset({ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64})


def by_numpy(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """A numpy function of arrays as a function of tensors."""

    def call(*tensors: Tensor) -> Tensor:
        return _call(function, *tensors)

    return _named(call, function)


def folded(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """A numpy function of two arrays, over any number of tensors."""

    def call(*tensors: Tensor) -> Tensor:
        return reduce(partial(_call, function), tensors)

    return _named(call, function)


def _named(call: Callable[..., Tensor], function: Callable[..., Any]) -> Callable[..., Tensor]:
    call.__name__ = call.__qualname__ = f"unsigned_{function.__name__}"
    return call


def shift(a: Tensor, b: Tensor, *, direction: str) -> Tensor:
    """BitShift."""
    return _call(np.left_shift if direction == "LEFT" else np.right_shift, a, b)


def clip(x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    """Clip; with low > high everything becomes `high`."""
    bounded = x if low is None else _call(np.maximum, x, _end(x, low))
    return bounded if high is None else _call(np.minimum, bounded, _end(x, high))


def _end(x: Tensor, bound: Any) -> Tensor:
    value = np.asarray(bound.numpy() if isinstance(bound, Tensor) else bound)
    return torch.from_numpy(value.astype(x.numpy().dtype).reshape(()))


def modulo(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """Mod: the same with and without `fmod`, as there are no signs."""
    del fmod
    return _call(np.remainder, a, b)


def _call(function: Callable[..., Any], *tensors: Tensor) -> Tensor:
    found = function(*(each.numpy() for each in tensors))
    return torch.from_numpy(np.array(found, order="C"))
