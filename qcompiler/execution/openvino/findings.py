"""Where a program with Q/DQ pairs meets one of OpenVINO's `faults`, as warnings."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.execution.openvino.faults import (
    counts_padding,
    is_dynamic,
    is_fused_product,
    read_apart,
)
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.optraits import LINEAR
from qcompiler.ir.origin import source_line
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, constant, is_constant, is_op, producer_of, rank, uses

SIGNED_FAR, MIXED_READERS, VECTOR, PADDED_AVERAGE = "OV-F1", "OV-F2", "OV-F3", "OV-F4"
FUSED_PRODUCTS, TIES = "OV-F5", "OV-F6"
_RECURRENT = ("LSTM", "GRU", "RNN")
_PASSING = (
    "MaxPool", "AveragePool", "Concat", "Split", "Resize", "Gather", "Transpose", "Reshape",
    "Flatten", "Relu",
)  # fmt: skip

_WHERE = "qcompiler.execution.openvino.faults; measured with OpenVINO 2026.4.1"


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


def _fused_integers(node: ir.Node) -> bool:
    return is_op(producer_of(node.inputs[0]) if node.inputs else None, "DequantizeLinear") and (
        is_fused_product(node)
    )


def _mixed(product: ir.Node) -> bool:
    """An integer product whose result a Q reads, perhaps behind one op, and something in float."""
    value = product.outputs[0]
    if not product.inputs or not is_op(producer_of(product.inputs[0]), "DequantizeLinear"):
        return False
    readers = [use.node for use in uses(value)]
    direct = [is_op(node, "QuantizeLinear") for node in readers]
    if any(direct):
        return not all(direct) or value.is_graph_output()
    behind = [use.node for node in readers for out in node.outputs for use in uses(out)]
    return read_apart(value) and any(is_op(node, "QuantizeLinear") for node in behind)


def _pads_integers(node: ir.Node) -> bool:
    """OV-F4 behind a DQ whose zero point is not 0."""
    if not counts_padding(node):
        return False
    source = producer_of(node.inputs[0])
    zero = constant(_zero_point(source)) if is_op(source, "DequantizeLinear") and source else None
    return zero is not None and bool(zero.any())
