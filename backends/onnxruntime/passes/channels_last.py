"""`lay-channels-last`: float operators between convolutions on integers, channels last.

ONNX Runtime runs convolutions on integers channels last and puts a Transpose at each end. It moves
these through some operators and removes pairs that meet, but not through all (BatchNormalization,
Slice, operands that two DequantizeLinear read). With two threads a Transpose of a batch of 62 takes
0.6 µs more for each element of the batch: 42 µs in place of 7 for [62, 129, 1, 4] on uint8, 178 of
the 594 µs of a speech network (ONNX Runtime 1.31.1, docs/onnxruntime.md). So what stands between
such convolutions is written channels last, and its Transposes meet theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.optraits import traits
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_constant, is_op, producer_of, rank, sole_user, uses
from qcompiler.passes.canonical.relayout import (
    Change,
    Layout,
    connected,
    data_positions,
    relayout,
    turnable,
)
from qcompiler.passes.fusion.affine import of_batch_norm
from qcompiler.pipeline.contract import Outcome, Pass, PassContext

Array = npt.NDArray[Any]
_INTEGERS = (ir.DataType.UINT8, ir.DataType.INT8)
_QDQ = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class LayChannelsLast(Pass):
    """Turns regions that nothing but convolutions and pools on integers enter and leave."""

    name: ClassVar[str] = "lay-channels-last"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        inside = turnable(program, _CHANNELS_LAST)
        if not inside:
            return Outcome(details={"turned": 0})
        for node in [each for each in program.graph if each in inside]:  # a set has no order
            if is_op(node, "BatchNormalization"):
                _scale_and_shift(node, rewriter)
        turned = relayout(program, rewriter, _CHANNELS_LAST)
        rewriter.drop_unused_constants()
        return Outcome(details={"turned": turned})


def _able(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx") or len(node.outputs) != 1 or not node.inputs:
        return False
    data = [node.inputs[index] for index in data_positions(node)]
    ranks = {rank(value) for value in [*data, node.outputs[0]]}
    if not data or not ranks <= {3, 4}:
        return False
    if is_op(node, "Unsqueeze"):
        axes = constant(node.inputs[1])
        return axes is not None and axes.tolist() in ([2], [-2])
    if len(ranks) > 1:
        return False
    if is_op(node, *_QDQ):
        scale = constant(node.inputs[1])
        return scale is not None and scale.size == 1
    if is_op(node, "Slice", "BatchNormalization"):
        return all(is_constant(operand) for operand in node.inputs[1:] if operand is not None)
    return traits(node).elementwise and not is_op(node, "PRelu")


def _turn(node: ir.Node, rewriter: Rewriter) -> None:
    """Writes attributes and constants for channels last."""
    dims = rank(node.outputs[0])
    assert dims is not None
    if is_op(node, "Unsqueeze"):
        _store(node, 1, np.array([1], np.int64), rewriter)
    elif is_op(node, "Slice"):
        starts = constant(node.inputs[1])
        axes = constant(node.inputs[3]) if len(node.inputs) > 3 else None
        assert starts is not None
        old = np.arange(starts.size) if axes is None else axes % dims
        places = [0, dims - 1, *range(1, dims - 1)]
        _store(node, 3, np.array([places[int(axis)] for axis in old], np.int64), rewriter)
    elif not is_op(node, *_QDQ):
        for index, operand in enumerate(node.inputs):
            array = constant(operand)
            if array is not None and array.size > 1:
                whole = array.reshape((1,) * (dims - array.ndim) + array.shape)
                _store(node, index, np.moveaxis(whole, 1, -1), rewriter)


def _store(node: ir.Node, index: int, array: Array, rewriter: Rewriter) -> None:
    stored = rewriter.constant(np.ascontiguousarray(array), f"{node.outputs[0].name}_last")
    if index == len(node.inputs):
        node.resize_inputs(index + 1)
    rewriter.set_input(node, index, stored)


def _kept(region: set[ir.Node]) -> set[ir.Node]:
    """Those parts of it that only what is channels last by itself enters and leaves."""
    left = _without_borders(region)
    found: set[ir.Node] = set()
    pending = set(left)
    while pending:
        part = connected(next(iter(pending)), left)
        pending -= part
        if all(_is_free(node, part) for node in part):
            found |= part
    return found


def _without_borders(region: set[ir.Node]) -> set[ir.Node]:
    """Without conversions that belong to operators outside, which are fused with them."""
    left = set(region)
    while True:
        borders = {
            node
            for node in left
            if (
                is_op(node, "DequantizeLinear")
                and any(use.node not in left for use in uses(node.outputs[0]))
            )
            or (is_op(node, "QuantizeLinear") and not _is_written_in(node.inputs[0], left))
        }
        if not borders:
            return left
        left -= borders


def _is_written_in(value: ir.Value | None, region: set[ir.Node]) -> bool:
    return value is not None and value.producer() in region


def _is_free(node: ir.Node, part: set[ir.Node]) -> bool:
    """Whether all that the node reads from outside, and gives there, is channels last already."""
    for index in data_positions(node):
        value = node.inputs[index]
        if not _is_written_in(value, part) and not _comes_channels_last(value):
            return False
    output = node.outputs[0]
    outside = [use.node for use in uses(output) if use.node not in part]
    return not output.is_graph_output() and all(_goes_channels_last(each) for each in outside)


def _comes_channels_last(value: ir.Value | None) -> bool:
    """Whether a convolution or pool on integers writes it."""
    node = producer_of(value)
    if value is None or node is None or value.dtype not in _INTEGERS:
        return False
    if is_op(node, "MaxPool"):
        return rank(value) == 4
    if not is_op(node, "QuantizeLinear"):
        return False
    inner = node.inputs[0]
    conv = producer_of(inner)
    return conv is not None and _is_integer_conv(conv) and sole_user(conv.outputs[0]) is node


def _goes_channels_last(node: ir.Node) -> bool:
    """Whether a convolution or pool on integers reads what the node does."""
    if is_op(node, "MaxPool"):
        return node.outputs[0].dtype in _INTEGERS and rank(node.outputs[0]) == 4
    readers = [use.node for use in uses(node.outputs[0])]
    return (
        is_op(node, "DequantizeLinear")
        and not node.outputs[0].is_graph_output()
        and all(_is_integer_conv(each) and each.inputs[0] is node.outputs[0] for each in readers)
    )


def _is_integer_conv(node: ir.Node) -> bool:
    """Whether QLinearConv runs it: data and weight are 8-bit integers, and so is the result."""
    if not is_op(node, "Conv"):
        return False
    for value in node.inputs[:2]:
        writer = producer_of(value)
        if writer is None or not is_op(writer, "DequantizeLinear"):
            return False
        stored = writer.inputs[0]
        if stored is None or stored.dtype not in _INTEGERS:
            return False
    return is_op(sole_user(node.outputs[0]), "QuantizeLinear")


def _to_last(value: ir.Value) -> Change:
    dims = rank(value) or 0
    return Change("Transpose", attributes={"perm": [0, *range(2, dims), 1]})


def _to_first(value: ir.Value) -> Change:
    dims = rank(value) or 0
    return Change("Transpose", attributes={"perm": [0, dims - 1, *range(1, dims - 1)]})


_CHANNELS_LAST = Layout(
    name="last",
    back_name="first",
    shape=lambda shape: [shape[0], *shape[2:], shape[1]],
    into=_to_last,
    back=_to_first,
    able=_able,
    triggers=lambda node: not is_op(node, *_QDQ, "Unsqueeze"),
    turn=_turn,
    keeps=_kept,
)


def _scale_and_shift(node: ir.Node, rewriter: Rewriter) -> None:
    """BatchNormalization as Mul and Add, which know no layout."""
    x, output = node.inputs[0], node.outputs[0]
    scale, bias, mean, variance = (np.asarray(constant(each)) for each in node.inputs[1:5])
    assert x is not None
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    affine = of_batch_norm(scale, bias, mean, variance, epsilon)
    shape = (-1, *[1] * ((rank(x) or 0) - 2))
    parts = {"factor": affine.scale, "shift": affine.shift}
    stored = {
        name: rewriter.constant(each.astype(np.float32).reshape(shape), f"{output.name}_{name}")
        for name, each in parts.items()
    }
    scaled = rewriter.insert(
        "Mul",
        [x, stored["factor"]],
        before=node,
        origin=(node,),
        outputs=(f"{output.name}_scaled",),
        dtype=output.dtype,
        shape=output.shape,
    )
    rewriter.recompose(output, "Add", [scaled.outputs[0], stored["shift"]])
