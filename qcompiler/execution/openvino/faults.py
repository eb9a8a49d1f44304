"""Where OpenVINO computes something else than the graph says, and the rewrite that avoids it.

Both faults were found by cutting zoo models down until a handful of nodes was left (OpenVINO
2026.4.1, CPU plugin; with `LP_TRANSFORMS_MODE=NO` the same graphs are right, so it is its
low-precision transformations that are at fault). Minimal graphs: tests/backends/openvino.

- OV-F1: int8 Q/DQ, then ops that pass integers on (MaxPool, Transpose, Reshape, Relu, ...), then
  a weighted op, in a model that has a Concat *anywhere*, or a bidirectional LSTM, GRU or RNN, which
  it decomposes into one: the values are rounded to whole numbers, as if the scale were 1. The same
  numbers as uint8 with a zero point higher by 128 are computed as they should be.
- OV-F2: a model with a dynamic dimension, where an integer convolution's result is read both by a
  QuantizeLinear and in float: the quantized branch is wrong. With shapes fixed it is right, and
  where float readers read the dequantized copy (pass `share-dequantized`).
- OV-F3: a vector from Q/DQ times a matrix with a scale per channel: the result keeps a leading
  dimension of 1. With one scale for the matrix, or a float vector, it is a vector.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import source_line
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, constant, is_constant, is_op, rank, uses

SIGNED_FAR, MIXED_READERS, VECTOR = "OV-F1", "OV-F2", "OV-F3"
_OFFSET = 128
_RECURRENT = ("LSTM", "GRU", "RNN")
_PASSING = (
    "MaxPool", "AveragePool", "Concat", "Split", "Resize", "Gather", "Transpose", "Reshape",
    "Flatten", "Relu",
)  # fmt: skip
_WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_WHERE = "qcompiler.execution.openvino.faults; measured with OpenVINO 2026.4.1"


def unsigned(program: Program) -> Program:
    """A copy in which int8 activations are uint8; every dequantized number stays what it was.

    q - z = (q + 128) - (z + 128), and int8 saturates where uint8 does then. Stored weights stay
    int8: OpenVINO runs uint8 weights in float.

    Args:
        program: With explicit Q/DQ pairs; pairs with other nodes between are left alone.
    """
    copy = program.clone()
    rewriter = Rewriter(copy)
    for node in list(all_nodes(copy.model)):
        if is_op(node, "QuantizeLinear") and _is_pair(node):
            readers = [use.node for use in uses(node.outputs[0])]
            node.outputs[0].type = ir.TensorType(ir.DataType.UINT8)
            for each in (node, *readers):
                _raise_zero_point(each, rewriter)
    return copy


def findings(program: Program) -> tuple[Diagnostic, ...]:
    """OV-F1 to OV-F3 in a program with explicit Q/DQ pairs, as warnings."""
    nodes = list(all_nodes(program.model))
    quantizers = [node for node in nodes if is_op(node, "QuantizeLinear")]
    found = []
    if any(_concatenates(node) for node in nodes):
        found += [
            _finding(SIGNED_FAR, node, _F1, _F1_HINT) for node in quantizers if _signed_far(node)
        ]
    if any(_is_dynamic(value) for value in program.graph.inputs):
        found += [
            _finding(MIXED_READERS, node, _F2, _F2_HINT) for node in quantizers if _mixed(node)
        ]
    vectors = (node for node in nodes if is_op(node, "MatMul") and _integer_vector(node))
    return (*found, *(_finding(VECTOR, node, _F3, _F3_HINT) for node in vectors))


_F1 = "OpenVINO rounds this int8 value to whole numbers, since the model has a Concat"
_F1_HINT = "store it as uint8 with a zero point higher by 128"
_F2 = "OpenVINO mixes up the quantized and the float reading of it in a model of dynamic shape"
_F2_HINT = "fix the shapes of the inputs, or let all readers read the dequantized copy"

_F3 = "OpenVINO returns a matrix of one row for this integer product of a vector"
_F3_HINT = "leave it in float, or make the vector a matrix of one row"


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


def _raise_zero_point(node: ir.Node, rewriter: Rewriter) -> None:
    zero = constant(_zero_point(node))
    assert zero is not None
    raised = np.asarray(zero.astype(np.int16) + _OFFSET, np.uint8)
    node.replace_input_with(2, rewriter.constant(raised, "zero_point_unsigned"))
    node.attributes.pop("output_dtype", None)


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
            if passed and is_op(use.node, *_WEIGHTED):
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


def _mixed(quantize: ir.Node) -> bool:
    """A weighted op's result with this Q and a float reader."""
    value = quantize.inputs[0]
    if value is None or not is_op(value.producer(), *_WEIGHTED):
        return False
    return any(not is_op(use.node, "QuantizeLinear") for use in uses(value))
