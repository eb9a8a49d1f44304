"""What is known about shapes and about integer vectors that are computed from shapes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.ir.walk import constant, is_op, rank

Dims = tuple[int | None, ...]
"""Elements of an integer vector or scalar; None where unknown."""

_MAX_DEPTH = 12
_MAX_ELEMENTS = 64


def static_dims(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape, if every dimension is a number."""
    known = partial_dims(value)
    if known is None or any(dim is None for dim in known):
        return None
    return tuple(dim for dim in known if dim is not None)


def partial_dims(value: ir.Value | None) -> Dims | None:
    """The shape with None for symbolic dimensions; None if the rank is unknown."""
    if value is None or value.shape is None:
        return None
    return tuple(int(dim) if isinstance(dim, int) else None for dim in value.shape)


def known_elements(value: ir.Value | None, depth: int = _MAX_DEPTH) -> Dims | None:
    """Elements of an int64 or int32 vector (or scalar), flat, as far as they follow from shapes.

    Reads through Shape, Gather, Slice, Concat, Squeeze, Unsqueeze and Cast between integers.
    Where the three in the middle read a matrix, elements are not in one order: not known.
    """
    array = constant(value)
    if array is not None:
        if array.dtype.kind != "i" or array.size > _MAX_ELEMENTS or array.ndim > 1:
            return None
        return tuple(int(element) for element in array.reshape(-1))
    node = None if value is None else value.producer()
    if node is None or depth == 0 or node.domain not in ("", "ai.onnx"):
        return None
    if is_op(node, "Shape"):
        return _of_shape(node)
    if is_op(node, "Squeeze", "Unsqueeze", "Identity"):
        return known_elements(node.inputs[0], depth - 1)
    if is_op(node, "Cast"):
        target = node.attributes.get_int("to", 0)
        integers = (ir.DataType.INT64, ir.DataType.INT32)
        return known_elements(node.inputs[0], depth - 1) if target in integers else None
    if is_op(node, "Concat"):
        return _of_concat(node, depth)
    if is_op(node, "Gather", "Slice"):
        return _selected(node, depth)
    return None


def _of_shape(node: ir.Node) -> Dims | None:
    dims = partial_dims(node.inputs[0])
    if dims is None:
        return None
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(dims))
    return dims[slice(start, end)]


def _of_concat(node: ir.Node, depth: int) -> Dims | None:
    elements: list[int | None] = []
    for operand in node.inputs:
        part = _vector(operand, depth)
        if part is None:
            return None
        elements.extend(part)
    return tuple(elements)


def _vector(operand: ir.Value | None, depth: int) -> Dims | None:
    """Elements of an operand that has one dimension, as far as is known."""
    return None if (rank(operand) or 1) != 1 else known_elements(operand, depth - 1)


def _selected(node: ir.Node, depth: int) -> Dims | None:
    source = _vector(node.inputs[0], depth)
    if source is None:
        return None
    if is_op(node, "Gather"):
        index = constant(node.inputs[1])
        if index is None or index.ndim > 1:
            return None
        inside = all(-len(source) <= i < len(source) for i in index.flat)
        return tuple(source[int(i)] for i in index.flat) if inside else None
    bounds = [constant(operand) for operand in node.inputs[1:]]
    if any(bound is None or bound.size != 1 for bound in bounds) or len(bounds) < 2:
        return None
    numbers = [int(np.asarray(bound).reshape(())) for bound in bounds if bound is not None]
    step = numbers[3] if len(numbers) > 3 else 1
    if step <= 0:
        return None
    return source[slice(numbers[0], numbers[1], step)]
