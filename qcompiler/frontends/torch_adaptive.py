"""Adaptive pooling to sizes that do not divide the input's, written out window by window.

PyTorch's ONNX translation knows the averaging one in 2-D only, as one gather for every element of a
window (73 for 2 x 3), and none of the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def average(x: Tensor, output_size: Sequence[int]) -> Any:
    """Mean of every window: windows are boxes, so axis by axis."""
    sizes = _sizes(x.shape, output_size)
    if sizes is None:
        return NotImplemented
    for axis, (have, want) in enumerate(sizes, start=x.ndim - len(sizes)):
        parts = [x.narrow(axis, a, b - a).mean(axis, keepdim=True) for a, b in _windows(have, want)]
        x = parts[0] if want == 1 else torch.cat(parts, axis)
    return x


def maximum(x: Tensor, output_size: Sequence[int]) -> Any:
    """Largest element of every window, and its place in the flattened input."""
    sizes = _sizes(x.shape, output_size)
    if sizes is None:
        return NotImplemented
    values = x
    for axis, (have, want) in enumerate(sizes, start=x.ndim - len(sizes)):
        parts = [values.narrow(axis, a, b - a).amax(axis, True) for a, b in _windows(have, want)]
        values = parts[0] if want == 1 else torch.cat(parts, axis)
    return values, _places(x, sizes).reshape(values.shape)


def _places(x: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Places of the largest elements, one window after the other."""
    rank = len(sizes)
    numbers = torch.arange(_product(have for have, _ in sizes)).reshape([n for n, _ in sizes])
    found = []
    for window in itertools.product(*(_windows(have, want) for have, want in sizes)):
        box: tuple[Any, ...] = (..., *(slice(a, b) for a, b in window))
        first = x[box].flatten(-rank).argmax(-1)
        found.append(numbers[box].flatten()[first])
    return torch.stack(found, -1)


def needed(given: Mapping[str, Any]) -> bool:
    """Whether sizes are known and do not divide; others PyTorch translates."""
    node = given["self"]
    shape = node.meta["val"].shape if isinstance(node, torch.fx.Node) else node.shape
    sizes = _sizes(shape, given["output_size"])
    return sizes is not None and any(have % want for have, want in sizes)


def _sizes(shape: Sequence[Any], wanted: Sequence[Any]) -> list[tuple[int, int]] | None:
    """Size and wanted size of the pooled axes; None where one is open or empty."""
    given = list(shape)[-len(wanted) :]
    pairs = [
        (have, have if want is None else want) for have, want in zip(given, wanted, strict=True)
    ]
    known = all(isinstance(n, int) and n > 0 for pair in pairs for n in pair)
    return pairs if known else None


def _windows(have: int, want: int) -> Iterator[tuple[int, int]]:
    """aten/src/ATen/native/AdaptivePooling.h: start_index, end_index."""
    for index in range(want):
        yield index * have // want, -(-(index + 1) * have // want)


def _product(sizes: Iterator[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total
