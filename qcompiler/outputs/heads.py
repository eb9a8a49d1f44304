"""The head of an output: what the graph computes last, behind ops that only move elements.

Softmax, Sigmoid and normalisation are recognised as one op and as exporters take them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

import onnx_ir as ir

from qcompiler.ir.optraits import traits
from qcompiler.ir.origin import describe
from qcompiler.ir.walk import is_constant, is_op, producer_of, rank


class Op(Enum):
    """What a head is."""

    SOFTMAX = "Softmax"
    LOG_SOFTMAX = "LogSoftmax"
    SIGMOID = "Sigmoid"
    NORMALIZED = "division by the length"
    POOLED = "pooling"
    STATE = "state of a recurrent layer"
    LINEAR = "linear layer"
    INDEX = "index"
    JOINED = "Concat"
    OTHER = "other"


@dataclass(frozen=True, eq=False)
class Head:
    """The last computation of an output.

    Attributes:
        op: What it is.
        value: What it gives.
        told: It in words: op and node.
        features: Outputs of a linear head.
        parts: Heads of what a Concat joins.
        attention: Whether a Softmax weighs by a product of two activations.
    """

    op: Op
    value: ir.Value
    told: str
    features: int | None = None
    parts: tuple[Head, ...] = ()
    attention: bool = False


_PASSED = frozenset(
    (
        "Identity Cast CastLike Dropout Reshape Squeeze Unsqueeze Flatten Transpose "
        "QuantizeLinear DequantizeLinear Slice Gather Split Expand Pad"
    ).split()
)
"""Ops that hand elements of the first operand on."""
_POOLS = frozenset("GlobalAveragePool GlobalMaxPool GlobalLpPool ReduceMean ReduceMax".split())
_INDICES = frozenset("ArgMax ArgMin TopK NonMaxSuppression NonZero".split())
_SCALED = frozenset("Mul Div Add Sub Where".split())
_DEPTH = 64


def head_of(value: ir.Value, depth: int = _DEPTH) -> Head:
    """The head of an output value."""
    last = _behind_movers(value)
    node = last.producer()
    if node is None:
        return Head(Op.OTHER, last, "an input or constant handed on")
    if is_op(node, "Concat") and depth:
        operands = [each for each in node.inputs if each is not None]
        parts = tuple(head_of(each, depth // 2) for each in operands if not is_constant(each))
        return Head(Op.JOINED, last, describe(node), parts=parts)
    for op, found in _RECOGNISED.items():
        if found(last, node):
            attention = op is Op.SOFTMAX and _is_attention(node)
            return Head(op, last, _told(op, node), attention=attention)
    features = _features(node)
    if features is not None:
        return Head(Op.LINEAR, last, describe(node), features=features)
    return Head(Op.OTHER, last, describe(node))


def chosen_from(value: ir.Value) -> str | None:
    """Which node picks a class from these scores elsewhere in the graph; None if none does."""
    for node in _readers(value):
        if is_op(node, "ArgMax", "TopK", "Softmax", "LogSoftmax"):
            return describe(node)
    return None


def _readers(value: ir.Value) -> Iterator[ir.Node]:
    """Nodes that read a value, behind movers too."""
    pending, seen = [value], set()
    while pending:
        for node, position in pending.pop().uses():
            if node in seen:
                continue
            seen.add(node)
            yield node
            if position == 0 and node.op_type in _PASSED:
                pending.extend(node.outputs)


def _behind_movers(value: ir.Value) -> ir.Value:
    node = value.producer()
    while node is not None and is_op(node, *_PASSED) and node.inputs and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def _is_softmax(value: ir.Value, node: ir.Node) -> bool:
    """Softmax, or Exp(x) / ReduceSum(Exp(x))."""
    if is_op(node, "Softmax"):
        return True
    if not is_op(node, "Div"):
        return False
    top, bottom = node.inputs
    total = _source_behind_movers(bottom)
    is_exp = is_op(producer_of(top), "Exp") and is_op(total, "ReduceSum")
    return is_exp and total is not None and total.inputs[0] is top


def _is_log_softmax(value: ir.Value, node: ir.Node) -> bool:
    """LogSoftmax, Log(Softmax(x)), or x - Log(ReduceSum(Exp(x)))."""
    if is_op(node, "LogSoftmax"):
        return True
    inner = producer_of(node.inputs[0]) if node.inputs else None
    if is_op(node, "Log") and inner is not None and node.inputs[0] is not None:
        return _is_softmax(node.inputs[0], inner)
    if not is_op(node, "Sub"):
        return False
    norm = _source_behind_movers(node.inputs[1])
    if is_op(norm, "ReduceLogSumExp"):
        return True
    summed = _source_behind_movers(norm.inputs[0]) if norm and is_op(norm, "Log") else None
    return (
        summed is not None
        and is_op(summed, "ReduceSum")
        and is_op(producer_of(summed.inputs[0]), "Exp")
    )


def _is_sigmoid(value: ir.Value, node: ir.Node) -> bool:
    """Sigmoid, HardSigmoid, or 1 / (1 + Exp(-x))."""
    if is_op(node, "Sigmoid", "HardSigmoid"):
        return True
    if is_op(node, "Reciprocal"):
        bottom = producer_of(node.inputs[0])
    elif is_op(node, "Div") and is_constant(node.inputs[0]):
        bottom = producer_of(node.inputs[1])
    else:
        return False
    return (
        bottom is not None
        and is_op(bottom, "Add")
        and any(is_op(producer_of(each), "Exp") for each in bottom.inputs)
    )


def _is_normalized(value: ir.Value, node: ir.Node) -> bool:
    """LpNormalization, or x / length(x) with a guard against zero between."""
    if is_op(node, "LpNormalization"):
        return node.attributes.get_int("p", 2) == 2
    if not is_op(node, "Div", "Mul"):
        return False
    return any(_is_length(each, node) for each in node.inputs[:2])


def _is_length(value: ir.Value | None, of: ir.Node) -> bool:
    """Whether a value is sqrt(sum(x^2)), or its reciprocal under a product."""
    for _ in range(8):
        node = producer_of(value)
        if node is None:
            return False
        if is_op(node, "ReduceL2"):
            return any(node.inputs[0] is each for each in of.inputs)
        if is_op(node, "ReduceSumSquare"):
            return any(node.inputs[0] is each for each in of.inputs)
        if is_op(node, "ReduceSum"):
            squared = producer_of(node.inputs[0])
            return is_op(squared, "Mul", "Pow")
        if not is_op(node, "Sqrt", "Pow", "Clip", "Max", "Add", "Expand", "Reciprocal", "Identity"):
            return False
        value = next((each for each in node.inputs if not is_constant(each)), None)
    return False


def _is_pooled(value: ir.Value, node: ir.Node) -> bool:
    return is_op(node, *_POOLS)


def _is_state(value: ir.Value, node: ir.Node) -> bool:
    return is_op(node, "LSTM", "GRU", "RNN") and value is not node.outputs[0]


def _is_index(value: ir.Value, node: ir.Node) -> bool:
    return is_op(node, *_INDICES) and value is node.outputs[-1]


_RECOGNISED: Mapping[Op, Callable[[ir.Value, ir.Node], bool]] = MappingProxyType(
    {
        Op.SOFTMAX: _is_softmax,
        Op.LOG_SOFTMAX: _is_log_softmax,
        Op.SIGMOID: _is_sigmoid,
        Op.NORMALIZED: _is_normalized,
        Op.POOLED: _is_pooled,
        Op.STATE: _is_state,
        Op.INDEX: _is_index,
    }
)


def _features(node: ir.Node) -> int | None:
    """Outputs of a linear layer with a stored weight, a bias behind it or not; None for others.

    Of convolutions only those count that end in one position: 1 x 1 behind a global pooling, or
    pooled afterwards; others give maps.
    """
    if is_op(node, "Add"):
        behind = [each for each in node.inputs if each is not None and not is_constant(each)]
        inner = producer_of(_behind_movers(behind[0])) if len(behind) == 1 else None
        return None if inner is None else _features(inner)
    if not traits(node).linear or not is_constant(node.inputs[1]):
        return None
    if is_op(node, "Conv", "ConvTranspose"):
        inner = producer_of(_behind_movers(node.inputs[0])) if node.inputs[0] is not None else None
        if not is_op(inner, *_POOLS):
            return None
    axis, shape = traits(node).channel_axis, node.inputs[1].shape if node.inputs[1] else None
    found = axis(node) if axis is not None else None
    if found is None or shape is None or rank(node.inputs[1]) is None:
        return None
    size = shape[found]
    return size if isinstance(size, int) else None


def _is_attention(node: ir.Node) -> bool:
    """Whether what a Softmax reads is a scaled, masked product of two activations."""
    value: ir.Value | None = node.inputs[0]
    for _ in range(8):
        source = producer_of(None if value is None else _behind_movers(value))
        if source is None:
            return False
        if is_op(source, "MatMul", "Einsum"):
            return not any(is_constant(each) for each in source.inputs)
        if not is_op(source, *_SCALED):
            return False
        position = 1 if is_op(source, "Where") and is_constant(source.inputs[2]) else 0
        position = 2 if is_op(source, "Where") and is_constant(source.inputs[1]) else position
        value = source.inputs[position]
    return False


def _source_behind_movers(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else _behind_movers(value).producer()


def _told(op: Op, node: ir.Node) -> str:
    return describe(node) if op.value == node.op_type else f"{op.value} ({describe(node)})"
