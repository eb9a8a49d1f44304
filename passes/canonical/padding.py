"""Pad nodes folded into the convolution or pooling behind them."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from qcompiler.ir.clamping import is_nonnegative
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, rank, scalar
from qcompiler.passes.canonical.dims import partial_dims
from qcompiler.passes.canonical.rule import rule

_LARGEST_FOLDED = 16
"""Padding per axis, begin and end together. ONNX Runtime's blocked convolution computes results at
the border one by one: with 63 or 508 padded elements Pad and an unpadded Conv take 0.25-0.6 of the
time of a padded Conv, up to 8 the two are equal."""


@rule("fold-pad", "Conv", "AveragePool", "MaxPool")
def fold_pad(node: ir.Node, rewriter: Rewriter) -> bool:
    """Constant padding of spatial axes → the `pads` attribute, where that means the same.

    Conv pads with 0. AveragePool counts padded zeros with `count_include_pad`. MaxPool ignores
    padding, so the value must never win: -inf, or 0 on a value that is never negative and a pad
    smaller than the kernel (every window then holds an element).
    """
    source = node.inputs[0]
    pad = None if source is None else source.producer()
    if pad is None or not is_op(pad, "Pad"):
        return False
    amounts = _spatial_pads(pad)
    existing = _existing_pads(node, amounts)
    if amounts is None or existing is None or not _means_the_same(node, pad, amounts, existing):
        return False
    if is_op(node, "Conv") and not _pays(pad, amounts):
        return _name_axes(pad, amounts, rewriter)
    total = [a + b for a, b in zip(amounts, existing, strict=True)]
    rewriter.set_attribute(node, "pads", total)
    if "auto_pad" in node.attributes:
        rewriter.set_attribute(node, "auto_pad", None)
    if is_op(node, "AveragePool"):
        rewriter.set_attribute(node, "count_include_pad", 1)
    rewriter.set_input(node, 0, pad.inputs[0])
    rewriter.erase_dead(pad)
    return True


def _pays(pad: ir.Node, amounts: list[int]) -> bool:
    """Whether a padded Conv is as fast as Pad and Conv; not on an image of width 1."""
    half = len(amounts) // 2
    largest = max(a + b for a, b in zip(amounts[:half], amounts[half:], strict=True))
    dims = partial_dims(pad.inputs[0])
    return largest <= _LARGEST_FOLDED and not (half > 1 and dims is not None and dims[-1] == 1)


def _name_axes(pad: ir.Node, amounts: list[int], rewriter: Rewriter) -> bool:
    """Gives the Pad its axes operand: ONNX Runtime folds a Pad without one into the Conv itself."""
    if _has_axes(pad):
        return False
    half = len(amounts) // 2
    name = pad.outputs[0].name
    axes = np.arange(2, 2 + half, dtype=np.int64)
    rewriter.set_input(pad, 1, rewriter.constant(np.array(amounts, np.int64), f"{name}_pads"))
    rewriter.set_input(pad, 3, rewriter.constant(axes, f"{name}_axes"))
    return True


def _has_axes(pad: ir.Node) -> bool:
    return len(pad.inputs) > 3 and pad.inputs[3] is not None


def _spatial_pads(pad: ir.Node) -> list[int] | None:
    """[begin..., end...] over the spatial axes of an NC... tensor, None if not only those."""
    if pad.attributes.get_string("mode", "constant") != "constant":
        return None
    array, dims = constant(pad.inputs[1]), rank(pad.outputs[0])
    if array is None or array.min(initial=0) < 0:
        return None
    dims = array.size // 2 if not _has_axes(pad) else dims
    axes = constant(pad.inputs[3]) if _has_axes(pad) else np.arange(array.size // 2)
    if axes is None or dims is None or dims < 3:
        return None
    begins, ends = [0] * dims, [0] * dims
    for axis, begin, end in zip(axes, array[: axes.size], array[axes.size :], strict=True):
        begins[int(axis)], ends[int(axis)] = int(begin), int(end)
    return None if any(begins[:2] + ends[:2]) else begins[2:] + ends[2:]


def _existing_pads(node: ir.Node, amounts: list[int] | None) -> list[int] | None:
    if amounts is None:
        return None
    if node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    pads = node.attributes.get_ints("pads")
    existing = [0] * len(amounts) if pads is None else [int(amount) for amount in pads]
    return existing if len(existing) == len(amounts) else None


def _means_the_same(node: ir.Node, pad: ir.Node, amounts: list[int], existing: list[int]) -> bool:
    fill = _fill_value(pad)
    if is_op(node, "Conv"):
        return fill == 0.0
    kernel = node.attributes.get_ints("kernel_shape")
    if kernel is None or node.attributes.get_int("ceil_mode", 0) != 0 or len(node.outputs) > 1:
        return False
    pairs = zip(amounts, existing, [*kernel, *kernel], strict=True)
    if any(a + b >= size for a, b, size in pairs):
        return False
    if is_op(node, "AveragePool"):
        counted = node.attributes.get_int("count_include_pad", 0) == 1 or not any(existing)
        return fill == 0.0 and counted
    if fill is None:
        return False
    return fill <= -3.4e38 or (fill == 0.0 and is_nonnegative(pad.inputs[0]))


def _fill_value(pad: ir.Node) -> float | None:
    value = pad.inputs[2] if len(pad.inputs) > 2 else None
    number = 0.0 if value is None else scalar(value)
    return None if number is None or math.isnan(number) else number
