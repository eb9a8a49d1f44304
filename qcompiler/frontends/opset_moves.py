"""Attributes that became operands in a later opset: a table, and the function that applies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
import onnx_ir as ir

from qcompiler.ir.rewriter import Rewriter


class Kind(Enum):
    """Form of the operand that an attribute becomes."""

    LIST = auto()  # int64[n]
    ONE = auto()  # int64[1]
    SCALAR = auto()  # int64[]
    FLOATS = auto()  # float32[n]
    LIKE = auto()  # scalar of the element type of operand 0


@dataclass(frozen=True)
class Move:
    """From opset `since` on, these attributes are operands: (attribute, position, form)."""

    since: int
    operands: tuple[tuple[str, int, Kind], ...]


_AXES_13 = (Move(13, (("axes", 1, Kind.LIST),)),)
_AXES_18 = (Move(18, (("axes", 1, Kind.LIST),)),)

MOVES: dict[str, tuple[Move, ...]] = {
    "Clip": (Move(11, (("min", 1, Kind.LIKE), ("max", 2, Kind.LIKE))),),
    "DFT": (Move(20, (("axis", 2, Kind.SCALAR),)),),
    "Pad": (Move(11, (("pads", 1, Kind.LIST), ("value", 2, Kind.LIKE))),),
    "ReduceL1": _AXES_18,
    "ReduceL2": _AXES_18,
    "ReduceLogSum": _AXES_18,
    "ReduceLogSumExp": _AXES_18,
    "ReduceMax": _AXES_18,
    "ReduceMean": _AXES_18,
    "ReduceMin": _AXES_18,
    "ReduceProd": _AXES_18,
    "ReduceSum": _AXES_13,
    "ReduceSumSquare": _AXES_18,
    "Slice": (
        Move(10, (("starts", 1, Kind.LIST), ("ends", 2, Kind.LIST), ("axes", 3, Kind.LIST))),
    ),
    "Split": (Move(13, (("split", 1, Kind.LIST),)),),
    "Squeeze": _AXES_13,
    "TopK": (Move(10, (("k", 1, Kind.ONE),)),),
    "Unsqueeze": _AXES_13,
    "Upsample": (Move(9, (("scales", 1, Kind.FLOATS),)),),
}
"""By op. Source: the ONNX operator changelog, opsets 9 to 20."""


def move_attributes(node: ir.Node, move: Move, rewriter: Rewriter) -> None:
    """Turns the node's attributes into operands; an absent attribute stays an absent operand."""
    for name, position, kind in move.operands:
        attribute = node.attributes.get(name)
        if attribute is None:
            continue
        operand = _operand(node, name, attribute.value, kind, rewriter)
        rewriter.set_input(node, position, operand)
        rewriter.set_attribute(node, name, None)


def _operand(node: ir.Node, name: str, value: object, kind: Kind, rewriter: Rewriter) -> ir.Value:
    stem = f"{node.name}_{name}"
    match kind:
        case Kind.LIST | Kind.SCALAR:
            return rewriter.constant(np.array(value, dtype=np.int64), stem)
        case Kind.ONE:
            return rewriter.constant(np.array([value], dtype=np.int64), stem)
        case Kind.FLOATS:
            return rewriter.constant(np.array(value, dtype=np.float32), stem)
        case Kind.LIKE:
            return _like_data(node, stem, value, rewriter)


def _like_data(node: ir.Node, stem: str, value: object, rewriter: Rewriter) -> ir.Value:
    """A scalar of operand 0's type; cast at run time when that type is not known."""
    data = node.inputs[0]
    dtype = None if data is None else data.dtype
    if dtype is not None:
        with np.errstate(over="ignore"):
            return rewriter.constant(np.array(value, dtype=dtype.numpy()), stem)
    number = rewriter.constant(np.array(value, dtype=np.float32), stem)
    return rewriter.insert("CastLike", [number, data], before=node).outputs[0]


def become(node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None]) -> None:
    """Changes op and operands and drops the attributes; outputs, name and metadata stay."""
    node.op_type = op_type
    node.attributes.clear()
    node.resize_inputs(len(inputs))
    for index, value in enumerate(inputs):
        node.replace_input_with(index, value)
