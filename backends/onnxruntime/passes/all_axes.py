"""`write-all-axes`: Pad and Resize of some axes → of all axes.

ONNX Runtime moves the Transposes around its convolutions on integers through these two, and
permutes their numbers as if there were some for every axis; with `axes` (opset 18) such a file
fails when it is run or loaded ("indices element out of data bounds", ONNX Runtime 1.31.1). Only a
Pad that nothing but float convolutions read keeps its axes: without, ONNX Runtime folds it into the
convolution (`fold-pad` says when that is slower).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, constant, is_op, rank, uses
from qcompiler.pipeline.contract import Outcome, Pass, PassContext

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class WriteAllAxes(Pass):
    """Gives Pad and Resize their numbers for every axis, the idle ones too."""

    name: ClassVar[str] = "write-all-axes"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        found = [each for each in all_nodes(program.model) if is_op(each, *_WRITERS)]
        written = sum(_WRITERS[each.op_type](each, rewriter) for each in found)
        return Outcome(details={"written": written})


def _pad(node: ir.Node, rewriter: Rewriter) -> bool:
    """Amounts of 0 for the other axes. Whether it had axes that are known."""
    named, dims = _operand(node, 3), rank(node.inputs[0])
    axes = constant(named)
    if axes is None or dims is None or _is_in_front_of_float(node):
        return False
    places = np.concatenate([axes % dims, axes % dims + dims])
    _spread(node, 1, places, np.zeros(2 * dims, np.int64), rewriter)
    rewriter.set_input(node, 3, None)
    return True


def _resize(node: ir.Node, rewriter: Rewriter) -> bool:
    """Scales of 1, sizes as they are, the whole extent as the region of interest.

    A policy that keeps the ratio of the sides speaks of the named axes only, so that one stays.
    """
    axes, dims = node.attributes.get_ints("axes"), rank(node.inputs[0])
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    if axes is None or dims is None or policy != "stretch":
        return False
    places = np.array(axes, np.int64) % dims
    if _is_given(_operand(node, 1)):
        idle = np.repeat(np.array([0, 1], np.float32), dims)
        _spread(node, 1, np.concatenate([places, places + dims]), idle, rewriter)
    if _is_given(_operand(node, 2)):
        _spread(node, 2, places, np.ones(dims, np.float32), rewriter)
    if _is_given(_operand(node, 3)):
        _spread(node, 3, places, _extents(node, rewriter), rewriter)
    rewriter.set_attribute(node, "axes", None)
    return True


_WRITERS: dict[str, Callable[[ir.Node, Rewriter], bool]] = {"Pad": _pad, "Resize": _resize}


def _operand(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if len(node.inputs) > index else None


def _is_given(value: ir.Value | None) -> bool:
    """An operand that is stored with no numbers counts as left out."""
    if value is None:
        return False
    numbers = constant(value)
    return numbers is None or numbers.size > 0


def _extents(node: ir.Node, rewriter: Rewriter) -> Array | ir.Value:
    """The input's own sizes, [rank] of int64."""
    source = node.inputs[0]
    assert source is not None
    if source.shape is not None and source.shape.is_static():
        return np.array(source.shape.numpy(), np.int64)
    return _step("Shape", [source], "extents", node, rewriter)


def _spread(
    node: ir.Node, index: int, places: Array, idle: Array | ir.Value, rewriter: Rewriter
) -> None:
    """Puts the operand's numbers at their places among those of all axes."""
    numbers = node.inputs[index]
    assert numbers is not None
    known = constant(numbers)
    stem = f"{node.outputs[0].name}_all_axes"
    if known is not None and isinstance(idle, np.ndarray):
        whole = idle.copy()
        whole[places] = known
        rewriter.set_input(node, index, rewriter.constant(whole, stem))
        return
    start = rewriter.constant(idle, f"{stem}_idle") if isinstance(idle, np.ndarray) else idle
    where = rewriter.constant(places.astype(np.int64), f"{stem}_places")
    scattered = _step("ScatterElements", [start, where, numbers], "all_axes", node, rewriter)
    rewriter.set_input(node, index, scattered)


def _step(
    op: str, operands: list[ir.Value], stem: str, node: ir.Node, rewriter: Rewriter
) -> ir.Value:
    scattering = op == "ScatterElements"
    dims = operands[0].shape if scattering else None
    return rewriter.insert(
        op,
        operands,
        before=node,
        outputs=(f"{node.outputs[0].name}_{stem}",),
        origin=(node,),
        dtype=operands[0].dtype if scattering else ir.DataType.INT64,
        shape=dims if scattering else ir.Shape([rank(operands[0])]),
    ).outputs[0]


def _is_in_front_of_float(pad: ir.Node) -> bool:
    """Whether only convolutions in float read it; what integers read comes by QuantizeLinear."""
    readers = [use.node for use in uses(pad.outputs[0])]
    return bool(readers) and all(is_op(each, "Conv") for each in readers)
