"""Shape arithmetic as Python numbers: a size that is open while exporting is a symbol.

A tensor that holds sizes would lose what they are sizes of, so that no Reshape by it can be
exported. Between Shape and the ops that take integers (Reshape, Expand, ...) sizes stay lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch

from qcompiler.ir.walk import is_op
from qcompiler.lowering.torch_fx.constants import array_of


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def shape_list(x: torch.Tensor, *, start: int = 0, end: int | None = None) -> list[Any]:
    """Shape."""
    return list(x.shape)[start:end]


def size_number(x: torch.Tensor) -> Any:
    """Size."""
    return x.numel()


def gather_list(values: list[Any], indices: Any, *, axis: int = 0) -> Any:
    """Gather along the only axis: one size, or a list."""
    del axis
    if isinstance(indices, list):
        return [values[index] for index in indices]
    return values[indices]


def concat_list(*values: Any, axis: int = 0) -> list[Any]:
    """Concat."""
    del axis
    return [each for value in values for each in _listed(value)]


def slice_list(values: list[Any], starts: Any, ends: Any, *rest: Any) -> list[Any]:
    """Slice of the only axis."""
    step = _listed(rest[1])[0] if len(rest) > 1 else 1
    return values[_listed(starts)[0] : _listed(ends)[0] : step]


def grown(value: Any, axes: Any = None) -> list[Any]:
    """Unsqueeze of one size."""
    del axes
    return _listed(value)


def only(value: Any, axes: Any = None) -> Any:
    """Squeeze of a list with one size."""
    del axes
    return _listed(value)[0]


def same(value: Any, **_: Any) -> Any:
    """Cast and Identity."""
    return value


def _elementwise(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(a: Any, b: Any) -> Any:
        if not isinstance(a, list) and not isinstance(b, list):
            return function(a, b)
        left, right = _listed(a), _listed(b)
        count = max(len(left), len(right))
        left, right = left * (count // len(left)), right * (count // len(right))
        return [function(x, y) for x, y in zip(left, right, strict=True)]

    return apply


def as_tensor(value: Any) -> torch.Tensor:
    """Sizes for an op that takes a tensor."""
    return torch.tensor(value, dtype=torch.int64)


SOURCES: dict[str, Callable[..., Any]] = {"Shape": shape_list, "Size": size_number}
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "Gather": gather_list,
    "Concat": concat_list,
    "Slice": slice_list,
    "Unsqueeze": grown,
    "Squeeze": only,
    "Cast": same,
    "Identity": same,
    "Add": _elementwise(lambda a, b: a + b),
    "Sub": _elementwise(lambda a, b: a - b),
    "Mul": _elementwise(lambda a, b: a * b),
    "Div": _elementwise(lambda a, b: a // b),
}
"""Sizes are not negative, so that floor division truncates."""
TAKERS = {"Reshape": 1, "Expand": 1, "Tile": 1, "ConstantOfShape": 0}
"""Ops that take sizes as numbers, and where."""


def size_values(graph: ir.Graph) -> set[ir.Value]:
    """The values that are computed as numbers: at most one axis, from shapes and constants."""
    found: set[ir.Value] = set()
    for node in graph:
        if is_op(node, *SOURCES):
            found.add(node.outputs[0])
        elif is_op(node, *ARITHMETIC) and found.intersection(v for v in node.inputs if v):
            value = node.outputs[0]
            integral = value.dtype in (None, ir.DataType.INT64, ir.DataType.INT32)
            flat = value.shape is None or len(value.shape) <= 1
            known = all(v is None or v in found or _is_list(v) for v in node.inputs)
            if integral and flat and known and node.inputs[0] is not None:
                found.add(value)
    return found


def _is_list(value: ir.Value) -> bool:
    array = array_of(value)
    return array is not None and array.ndim <= 1 and array.dtype.kind == "i"
