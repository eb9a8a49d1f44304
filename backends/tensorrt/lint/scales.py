"""Rules about scales: T07–T13 and the weight axis T21."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from qcompiler.backends.tensorrt.lint.rule import Finding, Verdict
from qcompiler.backends.tensorrt.lint.view import (
    Quantization,
    View,
    both_sides,
    build_time,
    weight_axis,
)
from qcompiler.ir.walk import constant, is_op, rank

_BLOCK_SIZES = (64, 128)


def constant_scales(view: View) -> Iterator[Finding]:
    """T07: scales are known when the engine is built."""
    for found in view.quantizations:
        if not build_time(found.scale):
            yield Finding(found.node, "the scale is a graph input or computed at run time")


def positive_scales(view: View) -> Iterator[Finding]:
    """T08: scales are positive; an infinite one is accepted but makes no sense."""
    for found in view.quantizations:
        values = found.scale_values
        if values is None:
            continue
        wide = values.astype(np.float64)
        if not (wide > 0).all():
            yield Finding(found.node, "a scale is zero, negative or NaN")
        elif np.isinf(wide).any():
            yield Finding(found.node, "a scale is infinite", Verdict.NUMERICS)


def zero_point_volume(view: View) -> Iterator[Finding]:
    """T09: as many zero points as scales."""
    for found in view.quantizations:
        scale, zero = found.scale_values, constant(found.zero)
        if scale is not None and zero is not None and scale.size != zero.size:
            yield Finding(found.node, f"{zero.size} zero points for {scale.size} scales")


def per_channel_activations(view: View) -> Iterator[Finding]:
    """T10: activations have one scale."""
    for node, found in _activations(view):
        if not found.per_tensor and not found.block:
            yield Finding(node, f"its activation is quantized per channel by {found.node.name}")


def scalar_scales(view: View) -> Iterator[Finding]:
    """T11: the scale of an activation has rank 0."""
    for node, found in _activations(view):
        values = found.scale_values
        if values is not None and values.size == 1 and values.ndim > 0:
            shape = list(values.shape)
            yield Finding(node, f"its activation's scale in {found.node.name} has shape {shape}")


def block_scales(view: View) -> Iterator[Finding]:
    """T12: int4 weights in blocks of 64 or 128; int8 weights never in blocks."""
    for node in view.quantized:
        weight = both_sides(node)[1]
        if weight is None or not is_op(node, "MatMul", "Gemm"):
            continue
        if weight.stored_type is ir.DataType.INT4:
            yield from _int4_blocks(node, weight)
        elif weight.block:
            yield Finding(node, f"its weight has blocks but is no int4: {weight.node.name}")


def _int4_blocks(node: ir.Node, weight: Quantization) -> Iterator[Finding]:
    left = both_sides(node)[0]
    widened = left is not None and left.stored_type is ir.DataType.INT8
    if not weight.block:
        yield Finding(node, f"its int4 weight has no blocks: {weight.node.name}")
    elif _single_block(weight) and not widened:
        yield Finding(node, f"one block covers the whole axis in {weight.node.name}")
    elif weight.block not in _BLOCK_SIZES:
        yield Finding(
            node, f"block size {weight.block} is not documented (64 and 128 are)", Verdict.ADVICE
        )


def block_shapes(view: View) -> Iterator[Finding]:
    """T13: one blocked axis, among the last two; scale of the data's rank; blocks divide it."""
    for found in view.quantizations:
        shape = None if found.data is None else found.data.shape
        values = found.scale_values
        if not found.block or shape is None or values is None:
            continue
        dims = len(shape)
        axis = found.axis % dims
        length = shape[axis]
        if values.ndim != dims:
            yield Finding(found.node, f"scale of rank {values.ndim} for data of rank {dims}")
        elif axis < dims - 2:
            yield Finding(found.node, f"axis {axis} is not one of the last two")
        elif isinstance(length, int) and length % found.block:
            yield Finding(found.node, f"blocks of {found.block} do not divide {length}")


def weight_axes(view: View) -> Iterator[Finding]:
    """T21: per-channel weights are quantized along their output channels."""
    for node in view.quantized:
        weight = both_sides(node)[1]
        if weight is None or weight.per_tensor or weight.block or not weight.holds_constant:
            continue
        actual, wanted = weight_axis(node, weight), _wanted_axis(node, weight)
        if actual is not None and wanted is not None and actual != wanted:
            yield Finding(node, f"its weight is quantized along axis {actual}, not {wanted}")


def _wanted_axis(node: ir.Node, weight: Quantization) -> int | None:
    if is_op(node, "Conv"):
        return 0
    if is_op(node, "ConvTranspose"):
        return 1
    if is_op(node, "Gemm"):
        return 0 if node.attributes.get_int("transB", 0) else 1
    dims = rank(weight.data)
    return 1 if dims is None else dims - 1


def _single_block(weight: Quantization) -> bool:
    values = weight.scale_values
    return values is not None and values.ndim > 0 and values.shape[weight.axis] == 1


def _activations(view: View) -> Iterator[tuple[ir.Node, Quantization]]:
    """Weighted nodes with the DQs of those operands that are computed or fed at run time."""
    for node in view.quantized:
        for found in both_sides(node):
            if found is not None and not found.holds_constant:
                yield node, found
