"""Pad nodes folded into the convolution or pooling behind them."""

from __future__ import annotations

import math

import onnx_ir as ir

from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, scalar
from qcompiler.passes.canonical.clamps import is_nonnegative
from qcompiler.passes.canonical.rule import rule


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
    total = [a + b for a, b in zip(amounts, existing, strict=True)]
    rewriter.set_attribute(node, "pads", total)
    if "auto_pad" in node.attributes:
        rewriter.set_attribute(node, "auto_pad", None)
    if is_op(node, "AveragePool"):
        rewriter.set_attribute(node, "count_include_pad", 1)
    rewriter.set_input(node, 0, pad.inputs[0])
    rewriter.erase_dead(pad)
    return True


def _spatial_pads(pad: ir.Node) -> list[int] | None:
    """[begin..., end...] over the spatial axes of an NC... tensor, None if not only those."""
    if pad.attributes.get_string("mode", "constant") != "constant":
        return None
    array = constant(pad.inputs[1])
    if array is None or (len(pad.inputs) > 3 and pad.inputs[3] is not None):
        return None
    amounts = [int(amount) for amount in array]
    half = len(amounts) // 2
    begins, ends = amounts[:half], amounts[half:]
    if half < 3 or any(begins[:2]) or any(ends[:2]) or min(amounts) < 0:
        return None
    return begins[2:] + ends[2:]


def _existing_pads(node: ir.Node, amounts: list[int] | None) -> list[int] | None:
    if amounts is None:
        return None
    if node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    pads = node.attributes.get_ints("pads")
    existing = [0] * len(amounts) if pads is None else [int(amount) for amount in pads]
    return existing if len(existing) == len(amounts) else None


def _means_the_same(
    node: ir.Node, pad: ir.Node, amounts: list[int], existing: list[int]
) -> bool:
    fill = _fill_value(pad)
    if is_op(node, "Conv"):
        return fill == 0.0
    kernel = node.attributes.get_ints("kernel_shape")
    if kernel is None or node.attributes.get_int("ceil_mode", 0) or len(node.outputs) > 1:
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
