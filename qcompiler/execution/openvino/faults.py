"""Where OpenVINO computes something else than the graph says, and the rewrite that avoids it.

The faults were found by cutting zoo models down until a handful of nodes was left (OpenVINO
2026.4.1, CPU plugin; with `LP_TRANSFORMS_MODE=NO` the same graphs are right, so it is its
low-precision transformations that are at fault). Minimal graphs: tests/backends/openvino.

- OV-F1: int8 Q/DQ, then ops that pass integers on (MaxPool, Transpose, Reshape, Relu, ...), then
  a weighted op, in a model that has a Concat *anywhere*, or a bidirectional LSTM, GRU or RNN, which
  it decomposes into one: the values are rounded to whole numbers, as if the scale were 1. The same
  numbers as uint8 with a zero point higher by 128 are computed as they should be.
- OV-F2: a model with a dynamic dimension, where an integer convolution's result is read both by a
  QuantizeLinear and in float: the quantized branch is wrong. With shapes fixed it is right, and
  where float readers read the dequantized copy (pass `share-dequantized`).
  Ops between (Relu, MaxPool, ...) make no difference; x * f(x) of one value is right.
- OV-F3: a vector from Q/DQ times a matrix with a scale per channel: the result keeps a leading
  dimension of 1. With one scale for the matrix, or a float vector, it is a vector.
- OV-F4: AveragePool with padding that counts (`count_include_pad`) on uint8 with a zero point: the
  padding is the integer 0, which stands for another number.
- OV-F5: two products with stored weights of at most 256 rows and columns, in integers and of fixed
  2-D size, with nothing but elementwise ops between: OpenVINO makes one subgraph of them (its
  tokenization of MLPs) where it runs on one thread, which reads wrong memory. In float, or with an
  open batch, they are right.
- OV-F7: a convolution or product in integers with a scale per channel, then Relu, LeakyRelu or
  PRelu, then Neg or Sub of something computed, or behind a convolution a product with a negative
  constant: its low-precision transformations move the scales behind the negation, and the values
  are wrong. With one scale, or without the activation, they are right.
- OV-F9: a product in integers with a scale per column, then MaxPool, AveragePool or a nearest
  Resize: the scales, which lie along the last axis, are moved behind a window over that axis. The
  values are wrong, or the model is refused. An activation between keeps the scales in place.
- OV-F10: an integer convolution c in `c + f(c)`, whatever f is, in a model of open sizes or where
  no subgraphs are made: c is written over before f has read it. This target's placement has one
  dequantized copy for both (OV-F2).
- OV-F11: with bfloat16 as the type of float values, a product of five rows or more with 8-bit
  weights that have one scale per channel, an odd number of them summed: wrong (4 to 16 dB). In
  blocks, of an even number, or in float32 it is right.
- OV-F6: TopK gives equal values in another order than ONNX, the lower index first.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from qcompiler.ir.optraits import LINEAR
from qcompiler.ir.walk import constant, is_constant, is_op, producer_of, rank, uses

_FUSED_SIZE = 256
"""Rows and columns of a weight up to which OpenVINO fuses products."""
_RECTIFYING = ("Relu", "LeakyRelu", "PRelu")
_KEEPING = ("Unsqueeze", "Squeeze", "Identity")
"""Ops that scales per column pass unchanged."""


def _is_dynamic(value: ir.Value) -> bool:
    return value.shape is None or not value.shape.is_static()


def is_dynamic(graph: ir.Graph) -> bool:
    """Whether a dimension of an input is open."""
    return any(_is_dynamic(value) for value in graph.inputs)


def read_apart(value: ir.Value) -> bool:
    """OV-F2: whether several read a weighted op's result, one of them an op that passes it on.

    What is given out is read in float there. Readers that have a Q each, and gates (x * f(x)), are
    no such case.
    """
    readers = [use.node for use in uses(value)]
    if value.is_graph_output():
        return bool(readers)
    if len(readers) < 2 or _is_gate(value, readers):
        return False
    return any(not is_op(node, *LINEAR, "QuantizeLinear", "Add", "Concat") for node in readers)


def is_negated(value: ir.Value, channels: bool) -> bool:
    """OV-F7: whether an activation that scales pass is negated or subtracted from or with.

    Args:
        value: What the product or convolution computes.
        channels: Whether it is a convolution, whose scales a constant factor joins.
    """
    rectified = [
        each for use in uses(value) if is_op(use.node, *_RECTIFYING) for each in use.node.outputs
    ]
    if is_op(producer_of(value), *_RECTIFYING):
        rectified.append(value)
    readers = [use.node for each in rectified for use in uses(each)]
    return any(_negates(node) or (channels and _is_negative(node)) for node in readers)


def _negates(node: ir.Node) -> bool:
    computed = is_op(node, "Sub") and not any(map(is_constant, node.inputs))
    return is_op(node, "Neg") or computed


def _is_negative(node: ir.Node) -> bool:
    """A product with a constant of which some are below 0."""
    factors = [constant(value) for value in node.inputs] if is_op(node, "Mul", "Div") else []
    return any(each is not None and bool((each < 0).any()) for each in factors)


def is_pooled(value: ir.Value) -> bool:
    """OV-F9: whether a window over the last axis reads a product's result, scales and all."""
    waiting = [value]
    while waiting:
        readers = [use.node for use in uses(waiting.pop())]
        if any(map(_is_window, readers)):
            return True
        waiting += [node.outputs[0] for node in readers if _keeps_columns(node)]
    return False


def _keeps_columns(node: ir.Node) -> bool:
    scaled = is_op(node, "Mul", "Div") and any(map(is_constant, node.inputs))
    return scaled or is_op(node, *_KEEPING)


def _is_window(node: ir.Node) -> bool:
    if is_op(node, "Resize"):
        return node.attributes.get_string("mode", "nearest") == "nearest"
    return is_op(node, "MaxPool", "AveragePool")


def counts_padding(node: ir.Node) -> bool:
    """OV-F4: an AveragePool whose padding counts."""
    counted = bool(node.attributes.get_int("count_include_pad", 0))
    same = node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    padded = same or any(node.attributes.get_ints("pads", ()))
    return is_op(node, "AveragePool") and counted and padded


def is_fused_product(node: ir.Node) -> bool:
    """OV-F5: a product that OpenVINO makes one subgraph of with one before or behind it."""
    if not _is_small(node):
        return False
    behind = [use.node for value in node.outputs for use in uses(value)]
    before = [producer_of(value) for value in node.inputs]
    return _meets_small(behind, forwards=True) or _meets_small(before, forwards=False)


def _meets_small(nodes: Sequence[ir.Node | None], *, forwards: bool) -> bool:
    """Whether a small product is reached without passing another weighted op."""
    pending: list[ir.Node | None] = list(nodes)
    seen: set[ir.Node] = set()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if is_op(node, *LINEAR):
            if _is_small(node):
                return True
        elif forwards:
            pending += [use.node for value in node.outputs for use in uses(value)]
        else:
            pending += [producer_of(value) for value in node.inputs]
    return False


def _is_small(node: ir.Node) -> bool:
    """A product of fixed 2-D data and a small stored weight, in float or behind a DQ."""
    if not is_op(node, "MatMul", "Gemm"):
        return False
    data, weight = node.inputs[:2]
    return _is_fixed_matrix(data) and _is_fixed_matrix(weight) and _is_kept(weight)


def _is_fixed_matrix(value: ir.Value | None) -> bool:
    if value is None or value.shape is None or rank(value) != 2 or not value.shape.is_static():
        return False
    # rows of the data do not matter: only stored sides are compared
    return not _is_kept(value) or max(map(int, value.shape)) <= _FUSED_SIZE  # type: ignore[arg-type]


def _is_kept(value: ir.Value | None) -> bool:
    """Whether it is a constant, or dequantized from one."""
    maker = producer_of(value)
    behind = maker.inputs[0] if is_op(maker, "DequantizeLinear") and maker else value
    return is_constant(behind)


def _is_gate(value: ir.Value, readers: list[ir.Node]) -> bool:
    if len(readers) != 2 or value.is_graph_output():
        return False
    product = next((node for node in readers if is_op(node, "Mul")), None)
    other = next((node for node in readers if node is not product), None)
    if product is None or other is None or len(other.outputs) != 1:
        return False
    same_size = is_op(other, "Sigmoid", "HardSigmoid", "Tanh", "Softplus")
    return same_size and other.outputs[0] in product.inputs
