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


def reshaped(value: Any, shape: list[int], *, allowzero: int = 0) -> Any:
    """Reshape of sizes to a list, or of one to a number."""
    del allowzero
    return _listed(value) if shape else _listed(value)[0]


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
    "Reshape": reshaped,
    "Cast": same,
    "Identity": same,
    "Add": _elementwise(lambda a, b: a + b),
    "Sub": _elementwise(lambda a, b: a - b),
    "Mul": _elementwise(lambda a, b: a * b),
    "Div": _elementwise(lambda a, b: a // b),
    "Mod": _elementwise(lambda a, b: a % b),
    "Max": _elementwise(torch.sym_max),
    "Min": _elementwise(torch.sym_min),
}
"""Sizes are not negative, so that floor division truncates."""
_BOTH = ("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Concat")
"""Ops that may have a size as any operand; the others have it first."""
_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)


def size_values(graph: ir.Graph) -> set[ir.Value]:
    """The values that are computed as numbers: at most one axis, from shapes and constants."""
    found: set[ir.Value] = set()
    for node in graph:
        if is_op(node, *SOURCES) or (is_op(node, *ARITHMETIC) and _stays_number(node, found)):
            found.add(node.outputs[0])
    return found


def _stays_number(node: ir.Node, sizes: set[ir.Value]) -> bool:
    """Whether an op of ARITHMETIC is given sizes, and nothing that is no list of integers."""
    value = node.outputs[0]
    leading = node.inputs if is_op(node, *_BOTH) else node.inputs[:1]
    if not sizes.intersection(each for each in leading if each is not None):
        return False
    integral = value.dtype in (None, *_INTEGERS)
    if is_op(node, "Cast"):
        integral = node.attributes.get_int("to", 0) in [kind.value for kind in _INTEGERS]
    if is_op(node, "Reshape") and not _is_list(node.inputs[1]):
        return False
    if len(node.inputs) > 2 and is_op(node, "Max", "Min"):
        return False
    flat = value.shape is None or len(value.shape) <= 1
    return integral and flat and all(v is None or v in sizes or _is_list(v) for v in node.inputs)


def _is_list(value: ir.Value | None) -> bool:
    array = array_of(value)
    return array is not None and array.ndim <= 1 and array.dtype.kind == "i"
