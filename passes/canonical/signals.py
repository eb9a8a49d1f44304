"""Signals, [N, C, L], around convolutions become images of height 1, [N, C, 1, L].

ONNX Runtime's blocked convolution (NCHWc) takes images only; a one-dimensional convolution is
unrolled in memory and multiplied (im2col). As images, with Unsqueeze and Squeeze at the border
counted, convolutions of 3 to 9 taps with 16 to 256 channels take 0.3-0.94 of the time, depthwise
ones 0.18-0.72, chains of three 0.3-0.92 (AVX-512, one thread, minimum of interleaved runs). Where
channels are no multiple of the block (20 -> 10: up to 2.8 times), for single taps (up to 1.2) and
for short kernels on few channels (up to 1.5) it does not pay, so those start no region.
A single convolution of 16 channels
that takes less than 5 µs loses up to 0.5 µs to these two. The memory order is the same.

Splitting a strided signal into its phases (space to depth) was measured too: on images it is never
faster by more than noise in float (0.96-3.9 times of it), so it is not done.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import traits
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_constant, is_op
from qcompiler.passes.canonical.dims import partial_dims
from qcompiler.passes.canonical.relayout import (
    POOLS,
    Change,
    Layout,
    data_positions,
    relayout,
    trimmed,
)

_BLOCK = 16
"""Channels per block with AVX-512; with AVX2 it is 8."""
_FEW_CHANNELS_TERMS = 32
"""Products per result from which a convolution of less than a block of channels gains."""


def raise_signals(program: Program, rewriter: Rewriter) -> int:
    """Turns every connected region with a convolution that gains; returns nodes turned."""
    return relayout(program, rewriter, _RAISED)


def _is_signal(value: ir.Value | None) -> bool:
    dims = partial_dims(value)
    return dims is not None and len(dims) == 3


def _can_turn(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx") or len(node.outputs) != 1 or not node.inputs:
        return False
    data = [node.inputs[index] for index in data_positions(node)]
    if not data or not all(_is_signal(value) for value in [*data, node.outputs[0]]):
        return False
    if is_op(node, "Conv"):
        return _is_blocked(node)
    if is_op(node, *POOLS):
        return node.attributes.get_ints("kernel_shape") is not None
    if is_op(node, "Pad"):
        return all(is_constant(operand) for operand in node.inputs[1:] if operand is not None)
    return is_op(node, "BatchNormalization") or traits(node).elementwise


def _is_blocked(node: ir.Node) -> bool:
    """Whether the convolution is no slower on an image: whole blocks of results, no groups."""
    dims = partial_dims(node.inputs[1])
    if dims is None or None in dims or not is_constant(node.inputs[1]):
        return False
    outputs, inputs = dims[0] or 0, dims[1] or 0
    group = node.attributes.get_int("group", 1)
    return outputs % _BLOCK == 0 and (group == 1 or (inputs == 1 and outputs == group))


def _gains(node: ir.Node) -> bool:
    if not is_op(node, "Conv"):
        return False
    inputs, taps = ((dim or 0) for dim in (partial_dims(node.inputs[1]) or (0, 0, 0))[1:])
    if node.attributes.get_int("group", 1) > 1:
        return taps >= 3
    if inputs < _BLOCK:
        return taps * inputs >= _FEW_CHANNELS_TERMS
    return taps > 1 and inputs % _BLOCK == 0


def _turn(node: ir.Node, rewriter: Rewriter) -> None:
    """Writes attributes and constants for images."""
    for name in ("kernel_shape", "strides", "dilations"):
        numbers = node.attributes.get_ints(name)
        if numbers is not None:
            rewriter.set_attribute(node, name, [1, numbers[0]])
    pads = node.attributes.get_ints("pads")
    if pads is not None:
        rewriter.set_attribute(node, "pads", [0, pads[0], 0, pads[1]])
    if is_op(node, "Conv"):
        _raise_constant(node, 1, rewriter)
    elif is_op(node, "Pad"):
        _name_axes(node, rewriter)
    elif not is_op(node, "BatchNormalization", *POOLS):
        for index in range(len(node.inputs)):
            _raise_constant(node, index, rewriter)


def _raise_constant(node: ir.Node, index: int, rewriter: Rewriter) -> None:
    """A constant of two or three axes gets one more in front of the last; others broadcast."""
    operand, array = node.inputs[index], constant(node.inputs[index])
    if operand is None or array is None or array.ndim < 2:
        return
    raised = np.expand_dims(array, -2)
    rewriter.set_input(node, index, rewriter.constant(raised, f"{operand.name}_raised"))


def _name_axes(node: ir.Node, rewriter: Rewriter) -> None:
    """Names the padded axes: 0, 1, 2 of a signal are 0, 1, 3 of the image."""
    amounts = constant(node.inputs[1])
    axes = constant(node.inputs[3]) if len(node.inputs) > 3 else None
    assert amounts is not None
    axes = np.arange(amounts.size // 2) if axes is None else axes % 3
    raised = np.array([(0, 1, 3)[int(axis)] for axis in axes], np.int64)
    name = f"{node.outputs[0].name}_raised_axes"
    rewriter.set_input(node, 3, rewriter.constant(raised, name))


_RAISED = Layout(
    name="raised",
    back_name="lowered",
    shape=lambda shape: [shape[0], shape[1], 1, shape[2]],
    into=lambda _: Change("Unsqueeze", (2,)),
    back=lambda _: Change("Squeeze", (2,)),
    able=_can_turn,
    triggers=_gains,
    turn=_turn,
    keeps=trimmed,
    ops=frozenset({"Conv"}),
)
