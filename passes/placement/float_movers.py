"""`float-movers`: data movement on integers goes back behind DequantizeLinear.

Q → MaxPool → DQ becomes Q → DQ → MaxPool. TensorRT moves DQ forward through these ops itself
(developer guide, Q/DQ networks), and its documentation asks for Q and DQ in pairs; the function is
bit-identical, since every element is dequantized on its own and the order is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import ALL, INTEGER_MOVERS, traits
from qcompiler.ir.program import Program, Property
from qcompiler.ir.qdq import params_of
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import Usage, all_graphs, is_op, scalar, uses
from qcompiler.passes.placement.fold_qdq import same_parameters
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.numerics import dequantize as dequantized


@dataclass(frozen=True)
class FloatMovers(Pass):
    """Moves DequantizeLinear in front of ops that only move or select elements."""

    name: ClassVar[str] = "float-movers"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.QDQ_EXPLICIT})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        return Outcome(details={"moved": float_movers(program, rewriter)})


def float_movers(program: Program, rewriter: Rewriter, outputs: bool = False) -> int:
    """Moves DequantizeLinear in front of movers; returns how many movers it passed.

    With `outputs`, also one whose result is an output of a graph.
    """
    moved = 0
    for graph in all_graphs(program.model):
        for node in reversed(list(graph)):
            if node.graph is not None and is_op(node, *INTEGER_MOVERS):
                moved += _lift(node, rewriter, outputs)
    return moved


def _lift(mover: ir.Node, rewriter: Rewriter, outputs: bool) -> bool:
    """Puts the DQ of a mover's result at its operands, if DQs are all that read the result."""
    readers = [use.node for use in uses(mover.outputs[0])]
    if not readers or not all(_is_plain(reader, outputs) for reader in readers):
        return False
    if len(mover.outputs) != 1 or mover.outputs[0].is_graph_output():
        return False
    if not traits(mover).shares_scale:  # a Resize that interpolates
        return False
    first = readers[0]
    if not all(same_parameters(first, reader) for reader in readers):
        return False
    if mover.graph is not first.graph:
        return False
    data = _data_positions(mover)
    if not data or (mover.op_type == "Pad" and not _pad_in_float(mover, first, rewriter)):
        return False
    for position in data:
        _dequantize(mover, position, first, rewriter)
    mover.outputs[0].type = first.outputs[0].type  # types are shared between clones
    for reader in readers:
        rewriter.replace_uses(reader.outputs[0], mover.outputs[0])
        rewriter.erase_dead(reader)
    return True


def _data_positions(mover: ir.Node) -> list[int]:
    """Operands whose elements the mover gives on, stored ones (a table of Gather) among them."""
    wanted = traits(mover).activations
    positions = range(len(mover.inputs)) if wanted is ALL else wanted
    return [position for position in positions if mover.inputs[position] is not None]


def _pad_in_float(pad: ir.Node, dequantize: ir.Node, rewriter: Rewriter) -> bool:
    """Writes the integer that fills as the number it stands for; False if that is not known.

    Without an operand ONNX fills with the integer 0, which stands for 0.0 only if it is the zero
    point.
    """
    given = pad.inputs[2] if len(pad.inputs) > 2 else None
    if pad.attributes.get_string("mode", "constant") == "constant":
        params, fill = params_of(dequantize), 0 if given is None else scalar(given)
        dtype = dequantize.outputs[0].dtype
        if params is None or dtype is None or fill is None:
            return False
        number = dequantized(np.asarray([fill], params.space.dtype.numpy()), params)
        if number[0] != 0:
            stood_for = number.astype(dtype.numpy()).reshape(())
            constant = rewriter.constant(stood_for, f"{pad.name}_fill", pad.graph)
            rewriter.set_input(pad, 2, constant)
            return True
    if given is not None:
        rewriter.set_input(pad, 2, None)
    return True


def _dequantize(mover: ir.Node, position: int, like: ir.Node, rewriter: Rewriter) -> None:
    operand = mover.inputs[position]
    assert operand is not None
    copy = rewriter.insert(
        "DequantizeLinear",
        [operand, *like.inputs[1:]],
        before=mover,
        outputs=[f"{operand.name}_dequantized"],
        dtype=like.outputs[0].dtype,
        shape=operand.shape,
    )
    use = Usage(mover, position)
    rewriter.replace_uses(operand, copy.outputs[0], only=[use])


def _is_plain(node: ir.Node, outputs: bool) -> bool:
    """A DQ with one scale for the whole tensor, whose result may be a graph output or not."""
    if not is_op(node, "DequantizeLinear"):
        return False
    if node.outputs[0].is_graph_output() and not outputs:
        return False
    scale = node.inputs[1]
    shape = None if scale is None else scale.shape
    return shape is not None and shape.is_static() and list(shape.numpy()) in ([], [1])
