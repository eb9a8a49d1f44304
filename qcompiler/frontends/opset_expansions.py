"""Ops newer than `WORKING_OPSET`, spelt out by hand: ONNX gives no definition, or a longer one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from qcompiler.errors import UnsupportedOpsetError
from qcompiler.frontends.opset_moves import become
from qcompiler.ir.origin import describe
from qcompiler.ir.program import WORKING_OPSET
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import rank


def _expand_swish(node: ir.Node, rewriter: Rewriter) -> None:
    """Swish-24: x · sigmoid(α·x)."""
    data = node.inputs[0]
    alpha = node.attributes.get_float("alpha", 1.0)
    inner = data
    if alpha != 1.0:
        factor = rewriter.constant(np.array(alpha, _numpy_type(data)), f"{node.name}_alpha")
        inner = rewriter.insert("Mul", [data, factor], before=node).outputs[0]
    gate = rewriter.insert("Sigmoid", [inner], before=node).outputs[0]
    become(node, "Mul", [data, gate])


def _expand_rms_normalization(node: ir.Node, rewriter: Rewriter) -> None:
    """RMSNormalization-23: x / sqrt(mean(x², axes ≥ axis) + ε) · scale, statistics in float32."""
    data, scale = node.inputs[:2]
    axis = node.attributes.get_int("axis", -1)
    dims = None if data is None or data.shape is None else len(data.shape)
    if axis >= 0 and dims is None:
        raise too_new(node, 23, "the rank of its input is unknown")
    first = axis if axis < 0 else axis - (dims or 0)
    dtype = ir.DataType.FLOAT if data is None or data.dtype is None else data.dtype

    def step(op_type: str, *operands: ir.Value | None, **attributes: int) -> ir.Value:
        return rewriter.insert(op_type, operands, before=node, attributes=attributes).outputs[0]

    wide = data
    if dtype != ir.DataType.FLOAT:
        wide = step("Cast", data, to=ir.DataType.FLOAT.value)
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    small = rewriter.constant(np.array(epsilon, np.float32), f"{node.name}_epsilon")
    axes = rewriter.constant(np.arange(first, 0, dtype=np.int64), f"{node.name}_axes")
    mean = step("ReduceMean", step("Mul", wide, wide), axes)
    normal = step("Div", wide, step("Sqrt", step("Add", mean, small)))
    if dtype != ir.DataType.FLOAT:
        normal = step("Cast", normal, to=dtype.value)
    become(node, "Mul", [normal, scale])


def _expand_tensor_scatter(node: ir.Node, rewriter: Rewriter) -> None:
    """TensorScatter-24: sample b's update is written along `axis` from write_indices[b] on.

    As ScatterElements, whose indices repeat the positions over all other axes. "circular" starts
    again at the front of the cache.
    """
    cache, update = node.inputs[:2]
    starts = node.inputs[2] if len(node.inputs) > 2 else None
    dims = rank(update) or rank(cache)
    if dims is None:
        raise too_new(node, 24, "the rank of its operands is unknown")
    axis = node.attributes.get_int("axis", -2) % dims
    circular = node.attributes.get_string("mode", "linear") == "circular"

    def number(value: int | list[int]) -> ir.Value:
        return rewriter.constant(np.array(value, np.int64), f"{node.name}_number")

    def step(op_type: str, *operands: ir.Value | None, **attributes: int) -> ir.Value:
        return rewriter.insert(op_type, operands, before=node, attributes=attributes).outputs[0]

    def size(value: ir.Value | None) -> ir.Value:
        return step("Squeeze", step("Shape", value, start=axis, end=axis + 1), number([0]))

    positions = step("Range", number(0), size(update), number(1))
    others = [index for index in range(dims) if index != axis]
    if starts is not None:
        others = others[1:]  # axis 0 is that of the samples
        positions = step("Add", step("Unsqueeze", starts, number([1])), positions)
    if circular:
        positions = step("Mod", positions, size(cache))
    positions = step("Unsqueeze", positions, number(others)) if others else positions
    indices = step("Expand", positions, step("Shape", update))
    become(node, "ScatterElements", [cache, indices, update])
    rewriter.set_attribute(node, "axis", axis)


def too_new(node: ir.Node, source: int, reason: str) -> UnsupportedOpsetError:
    """The error for a node that has no equal at `WORKING_OPSET`."""
    return UnsupportedOpsetError(
        f"{node.op_type} of opset {source} has no equal in opset {WORKING_OPSET}",
        where=describe(node),
        why=reason,
        fix=f"export the model with opset_version={WORKING_OPSET}",
    )


def _numpy_type(value: ir.Value | None) -> np.dtype[np.generic]:
    known = value is not None and value.dtype is not None
    return value.dtype.numpy() if known and value and value.dtype else np.dtype(np.float32)


EXPANSIONS: dict[str, Callable[[ir.Node, Rewriter], None]] = {
    "RMSNormalization": _expand_rms_normalization,
    "Swish": _expand_swish,
    "TensorScatter": _expand_tensor_scatter,
}
"""Ops newer than `WORKING_OPSET` that older ones spell out."""
