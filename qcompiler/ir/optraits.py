"""`OpTraits`: per ONNX operator the facts that passes need. A table, one row per op.

Passes ask this table and never test op names themselves. An op without a row is a float island:
it is carried through untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from qcompiler.ir.walk import is_stored, rank

ChannelAxis = Callable[[ir.Node], int | None]

ALL = None
"""`activations=ALL`: every operand carries data (variadic ops)."""


@dataclass(frozen=True)
class OpTraits:
    """Facts about one operator.

    Attributes:
        activations: Operand positions that carry activations; `ALL` for variadic ops.
        weight: Operand position of the weight, if the op has one; of Gather, the table.
        bias: Operand position of the bias.
        channel_axis: Axis of the weight that the output channels lie on, asked of the node; None
            for ops whose weight has no such axis.
        linear: A product of an activation and a weight, to which a bias is added.
        elementwise: Output element i depends on element i of the operands only.
        unary: Elementwise with one activation.
        moves_data: Copies elements, computes nothing; any common scale is exact.
        moves_integers: ONNX defines it on 8-bit integers, with the same result as on the
            dequantized values.
        shares_scale: Output values are operand values, so all take one scale (moves or selects).
        output_range: The mathematical output range, when it does not depend on the operands.
    """

    activations: tuple[int, ...] | None = (0,)
    weight: int | None = None
    bias: int | None = None
    channel_axis: ChannelAxis | None = None
    linear: bool = False
    elementwise: bool = False
    moves_data: bool = False
    moves_integers: bool = False
    shares_scale: bool = False
    output_range: tuple[float, float] | None = None

    @property
    def unary(self) -> bool:
        return self.elementwise and self.activations == (0,)


def _move() -> OpTraits:
    return OpTraits(moves_data=True, moves_integers=True, shares_scale=True)


def _linear(channel_axis: ChannelAxis, bias: int | None = 2) -> OpTraits:
    return OpTraits(weight=1, bias=bias, channel_axis=channel_axis, linear=True)


def _ungrouped_axis(node: ir.Node) -> int | None:
    """ConvTranspose: [in, out/group, ...]; with groups its channels lie on two axes."""
    return 1 if node.attributes.get_int("group", 1) == 1 else None


def _gemm_axis(node: ir.Node) -> int:
    return 0 if node.attributes.get_int("transB", 0) else 1


def _last_axis(node: ir.Node) -> int | None:
    dims = rank(node.inputs[1])
    return dims - 1 if dims is not None and dims >= 2 else None


def _looked_up_axis(node: ir.Node) -> int | None:
    dims = rank(node.inputs[0])
    return None if dims is None else node.attributes.get_int("axis", 0) % max(dims, 1)


def _unary(output_range: tuple[float, float] | None = None) -> OpTraits:
    return OpTraits(elementwise=True, output_range=output_range)


def _binary() -> OpTraits:
    return OpTraits(activations=(0, 1), elementwise=True)


TRAITS: dict[str, OpTraits] = {
    # weighted
    "Conv": _linear(lambda node: 0),
    "ConvTranspose": _linear(_ungrouped_axis),
    "Gemm": _linear(_gemm_axis),
    "MatMul": _linear(_last_axis, bias=None),
    "LSTM": OpTraits(weight=1, bias=3),
    "GRU": OpTraits(weight=1, bias=3),
    "RNN": OpTraits(weight=1, bias=3),
    # arithmetic
    "Add": _binary(),
    "Sub": _binary(),
    "Mul": _binary(),
    "Div": _binary(),
    "Pow": _binary(),
    "PRelu": _binary(),
    "Max": OpTraits(activations=ALL, elementwise=True),
    "Min": OpTraits(activations=ALL, elementwise=True),
    "Sum": OpTraits(activations=ALL, elementwise=True),
    "Where": OpTraits(activations=(1, 2), elementwise=True),
    # activations
    "Relu": _unary(),
    "Clip": _unary(),
    "LeakyRelu": _unary(),
    "Elu": _unary(),
    "Selu": _unary(),
    "Celu": _unary(),
    "Softplus": _unary(),
    "Sigmoid": _unary(output_range=(0.0, 1.0)),
    "HardSigmoid": _unary(output_range=(0.0, 1.0)),
    "Tanh": _unary(output_range=(-1.0, 1.0)),
    "Softsign": _unary(output_range=(-1.0, 1.0)),
    "Erf": _unary(output_range=(-1.0, 1.0)),
    "Exp": _unary(),
    "Log": _unary(),
    "Sqrt": _unary(),
    "Abs": _unary(),
    "Neg": _unary(),
    "Reciprocal": _unary(),
    "Sin": _unary(output_range=(-1.0, 1.0)),
    "Cos": _unary(output_range=(-1.0, 1.0)),
    "HardSwish": _unary(),
    "Gelu": _unary(),
    "Mish": _unary(),
    "Softmax": OpTraits(output_range=(0.0, 1.0)),
    "LogSoftmax": OpTraits(),
    # normalisation and reduction
    "BatchNormalization": OpTraits(),
    "InstanceNormalization": OpTraits(),
    "LayerNormalization": OpTraits(),
    "GroupNormalization": OpTraits(),
    "ReduceMean": OpTraits(),
    "ReduceSum": OpTraits(),
    "ReduceMax": OpTraits(shares_scale=True),
    "ReduceMin": OpTraits(shares_scale=True),
    # pooling
    "AveragePool": OpTraits(),
    "GlobalAveragePool": OpTraits(),
    "MaxPool": OpTraits(moves_integers=True, shares_scale=True),
    "GlobalMaxPool": OpTraits(shares_scale=True),
    # data movement
    "Identity": _move(),
    "Reshape": _move(),
    "Flatten": _move(),
    "Squeeze": _move(),
    "Unsqueeze": _move(),
    "Transpose": _move(),
    "Slice": _move(),
    "Split": _move(),
    "Expand": _move(),
    "Tile": _move(),
    "Gather": OpTraits(
        weight=0,
        channel_axis=_looked_up_axis,
        moves_data=True,
        moves_integers=True,
        shares_scale=True,
    ),
    "GatherElements": _move(),
    "GatherND": _move(),
    "DepthToSpace": _move(),
    "SpaceToDepth": _move(),
    "Pad": _move(),
    "Concat": OpTraits(activations=ALL, moves_data=True, moves_integers=True, shares_scale=True),
    "Resize": OpTraits(moves_integers=True),  # where it copies elements: see `traits`
}
_UNKNOWN = OpTraits(activations=())
_COPIED = _move()

LINEAR = tuple(op for op, row in TRAITS.items() if row.linear)
"""Ops that are a product with a weight: convolutions and matrix products."""
INTEGER_MOVERS = frozenset(op for op, row in TRAITS.items() if row.moves_integers)
"""Ops that give integers on as they are, or select among them."""


def traits(node: ir.Node) -> OpTraits:
    """The row of the node's op; an empty one (no activations) when the op has none."""
    if node.domain not in ("", "ai.onnx"):
        return _UNKNOWN
    if node.op_type == "Resize" and copies_elements(node):
        return _COPIED
    return TRAITS.get(node.op_type, _UNKNOWN)


def copies_elements(resize: ir.Node) -> bool:
    """Whether every element of the result is one of the data; a crop may write a constant, too."""
    form = resize.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    nearest = resize.attributes.get_string("mode", "nearest") == "nearest"
    return nearest and form != "tf_crop_and_resize"


def activation_positions(node: ir.Node) -> tuple[int, ...]:
    """Operand positions that carry activations in this node (constants and weights left out).

    `MatMul` and `Gemm` with two computed operands have two activations.
    """
    row = traits(node)
    positions = range(len(node.inputs)) if row.activations is ALL else row.activations
    wanted = [i for i in positions if i < len(node.inputs) and node.inputs[i] is not None]
    if row.weight is not None and weight_of(node) is None and row.weight < len(node.inputs):
        wanted += [] if row.weight in wanted else [row.weight]
    return tuple(i for i in wanted if not is_stored(node.inputs[i]))


def weight_of(node: ir.Node) -> ir.Value | None:
    """The stored weight operand, None if the op has none or it is computed."""
    position = traits(node).weight
    if position is None or position >= len(node.inputs):
        return None
    value = node.inputs[position]
    return value if is_stored(value) else None


def bias_of(node: ir.Node) -> ir.Value | None:
    """The stored bias operand, None if there is none or it is computed."""
    position = traits(node).bias
    if position is None or position >= len(node.inputs):
        return None
    value = node.inputs[position]
    return value if is_stored(value) else None


def weight_channel_axis(node: ir.Node) -> int | None:
    """Axis of the weight that the output channels lie on; None if there is no single one."""
    axis = traits(node).channel_axis
    return None if axis is None else axis(node)
