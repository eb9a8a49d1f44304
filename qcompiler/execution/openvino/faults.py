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
- OV-F6: TopK gives equal values in another order than ONNX, the lower index first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.optraits import LINEAR
from qcompiler.ir.origin import source_line
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, constant, is_constant, is_op, rank, stored_array, uses

SIGNED_FAR, MIXED_READERS, VECTOR, PADDED_AVERAGE = "OV-F1", "OV-F2", "OV-F3", "OV-F4"
FUSED_PRODUCTS, TIES = "OV-F5", "OV-F6"
_FUSED_SIZE = 256
"""Rows and columns of a weight up to which OpenVINO fuses products."""
_RECTIFYING = ("Relu", "LeakyRelu", "PRelu")
_RECURRENT = ("LSTM", "GRU", "RNN")
_PASSING = (
    "MaxPool", "AveragePool", "Concat", "Split", "Resize", "Gather", "Transpose", "Reshape",
    "Flatten", "Relu",
)  # fmt: skip
_KEEPING = ("Unsqueeze", "Squeeze", "Identity")
"""Ops that scales per column pass unchanged."""
_WHERE = "qcompiler.execution.openvino.faults; measured with OpenVINO 2026.4.1"


def float_constants(program: Program) -> Program:
    """A copy whose stored integers are the float32 numbers that their DequantizeLinear makes.

    Without its low-precision transformations OpenVINO takes them for compressed weights, and makes
    a MatMul of a pointwise convolution behind a Transpose of any order.
    """
    copy = program.clone()
    rewriter = Rewriter(copy)
    for node in list(all_nodes(copy.model)):
        array = stored_array(node.outputs[0]) if is_op(node, "DequantizeLinear") else None
        if array is not None:
            stored = rewriter.constant(np.asarray(array, np.float32), "dequantized")
            rewriter.replace_uses(node.outputs[0], stored)
            rewriter.erase(node)
    return copy


def findings(program: Program) -> tuple[Diagnostic, ...]:
    """OV-F1 to OV-F6 in a program with explicit Q/DQ pairs, as warnings."""
    nodes = list(all_nodes(program.model))
    quantizers = [node for node in nodes if is_op(node, "QuantizeLinear")]
    found = []
    if any(_concatenates(node) for node in nodes):
        found += [
            _finding(SIGNED_FAR, node, _F1, _F1_HINT) for node in quantizers if _signed_far(node)
        ]
    if is_dynamic(program.graph):
        weighted = [node for node in nodes if is_op(node, *LINEAR)]
        found += [_finding(MIXED_READERS, node, _F2, _F2_HINT) for node in weighted if _mixed(node)]
    found += [_finding(PADDED_AVERAGE, n, _F4, _F4_HINT) for n in nodes if _pads_integers(n)]
    found += [_finding(FUSED_PRODUCTS, n, _F5, _F5_HINT) for n in nodes if _fused_integers(n)]
    found += [_finding(TIES, node, _F6, _F6_HINT) for node in nodes if is_op(node, "TopK")]
    vectors = (node for node in nodes if is_op(node, "MatMul") and _integer_vector(node))
    return (*found, *(_finding(VECTOR, node, _F3, _F3_HINT) for node in vectors))


_F1 = "OpenVINO rounds this int8 value to whole numbers, since the model has a Concat"
_F1_HINT = "store it as uint8 with a zero point higher by 128"
_F2 = "OpenVINO mixes up the quantized and the float reading of it in a model of dynamic shape"
_F2_HINT = "fix the shapes of the inputs, or let all readers read the dequantized copy"

_F3 = "OpenVINO returns a matrix of one row for this integer product of a vector"
_F3_HINT = "leave it in float, or make the vector a matrix of one row"

_F4 = "OpenVINO pads this average with the integer 0, not with the zero point"
_F4_HINT = "leave it in float, or pad the data before"

_F5 = "OpenVINO fuses this small integer product with the next one, and reads wrong memory"
_F5_HINT = "leave both in float, or leave the batch open"

_F6 = "OpenVINO orders equal values otherwise than ONNX, which takes the lower index first"
_F6_HINT = "choose the target onnxruntime if ties matter"


def _finding(rule: str, node: ir.Node, message: str, hint: str) -> Diagnostic:
    return Diagnostic(
        Severity.WARNING,
        rule,
        message,
        node=node.name,
        source=source_line(node),
        hint=hint,
        reference=_WHERE,
    )


def _zero_point(node: ir.Node) -> ir.Value | None:
    return node.inputs[2] if len(node.inputs) > 2 else None


def _is_signed(node: ir.Node) -> bool:
    zero = constant(_zero_point(node))
    return zero is not None and zero.dtype == np.int8


def _is_pair(quantize: ir.Node) -> bool:
    """An int8 Q of something computed that only int8 DQs read."""
    integers, data = quantize.outputs[0], quantize.inputs[0]
    if is_constant(data) or integers.is_graph_output() or not _is_signed(quantize):
        return False
    readers = [use.node for use in uses(integers)]
    return all(is_op(node, "DequantizeLinear") and _is_signed(node) for node in readers)


def _concatenates(node: ir.Node) -> bool:
    if is_op(node, *_RECURRENT):
        return node.attributes.get_string("direction", "forward") == "bidirectional"
    return is_op(node, "Concat")


def _signed_far(quantize: ir.Node) -> bool:
    """An int8 pair that a weighted op reads through something that passes integers on."""
    if not _is_pair(quantize):
        return False
    pending = [(value, False) for use in uses(quantize.outputs[0]) for value in use.node.outputs]
    seen: set[ir.Value] = set()
    while pending:
        value, passed = pending.pop()
        for use in uses(value):
            if passed and is_op(use.node, *LINEAR):
                return True
            if is_op(use.node, *_PASSING):
                pending += [(each, True) for each in use.node.outputs if each not in seen]
                seen.update(use.node.outputs)
    return False


def _integer_vector(product: ir.Node) -> bool:
    """A MatMul of a dequantized vector and a weight with a scale per channel."""
    pairs = [value.producer() for value in product.inputs if value is not None]
    if rank(product.inputs[0]) != 1 or not all(is_op(each, "DequantizeLinear") for each in pairs):
        return False
    return any(each is not None and (rank(each.inputs[1]) or 0) > 0 for each in pairs)


def _is_dynamic(value: ir.Value) -> bool:
    return value.shape is None or not value.shape.is_static()


def is_dynamic(graph: ir.Graph) -> bool:
    """Whether a dimension of an input is open."""
    return any(_is_dynamic(value) for value in graph.inputs)


def read_apart(value: ir.Value) -> bool:
    """OV-F2: whether several read a weighted op's result, one of them an op that passes it on.

    Readers that have a Q each, and gates (x * f(x)), are no such case.
    """
    readers = [use.node for use in uses(value)]
    if len(readers) + value.is_graph_output() < 2 or _is_gate(value, readers):
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
    if is_op(_producer(value), *_RECTIFYING):
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
    before = [_producer(value) for value in node.inputs]
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
            pending += [_producer(value) for value in node.inputs]
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
    maker = _producer(value)
    behind = maker.inputs[0] if is_op(maker, "DequantizeLinear") and maker else value
    return is_constant(behind)


def _fused_integers(node: ir.Node) -> bool:
    return is_op(_producer(node.inputs[0]) if node.inputs else None, "DequantizeLinear") and (
        is_fused_product(node)
    )


def _is_gate(value: ir.Value, readers: list[ir.Node]) -> bool:
    if len(readers) != 2 or value.is_graph_output():
        return False
    product = next((node for node in readers if is_op(node, "Mul")), None)
    other = next((node for node in readers if node is not product), None)
    if product is None or other is None or len(other.outputs) != 1:
        return False
    same_size = is_op(other, "Sigmoid", "HardSigmoid", "Tanh", "Softplus")
    return same_size and other.outputs[0] in product.inputs


def _mixed(product: ir.Node) -> bool:
    """An integer product whose result a Q reads, perhaps behind one op, and something in float."""
    value = product.outputs[0]
    if not product.inputs or not is_op(_producer(product.inputs[0]), "DequantizeLinear"):
        return False
    readers = [use.node for use in uses(value)]
    direct = [is_op(node, "QuantizeLinear") for node in readers]
    if any(direct):
        return not all(direct) or value.is_graph_output()
    behind = [use.node for node in readers for out in node.outputs for use in uses(out)]
    return read_apart(value) and any(is_op(node, "QuantizeLinear") for node in behind)


def _producer(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()


def _pads_integers(node: ir.Node) -> bool:
    """OV-F4 behind a DQ whose zero point is not 0."""
    if not counts_padding(node):
        return False
    source = _producer(node.inputs[0])
    zero = constant(_zero_point(source)) if is_op(source, "DequantizeLinear") and source else None
    return zero is not None and bool(zero.any())
