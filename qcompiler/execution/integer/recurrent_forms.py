"""Recurrent layers of a placed program as checks: both ways in which their weights are written."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx_ir as ir

from qcompiler.execution.integer.operand import Array
from qcompiler.execution.integer.recurrent import Product, RecurrentCheck
from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, constant, is_op
from qcompiler.quantization.numerics import quantize
from qcompiler.quantization.parameters import weight_qparams
from qcompiler.quantization.qspace import S8_SYMMETRIC_PER_CHANNEL
from qcompiler.target.arithmetic import DynamicRange

_REFUSED = ("activations", "clip", "input_forget", "layout")
_Weights = tuple[Array, Array]
"""Integers [directions, gates, inputs] and scales [directions, gates], float64."""


def recurrent_checks(
    program: Program, keys: Collection[str], choose: DynamicRange
) -> Iterator[tuple[str, RecurrentCheck]]:
    """The layers of these regions that have a reference, by region key."""
    for node in all_nodes(program.model):
        fused = node.domain == "com.microsoft" and node.op_type == "DynamicQuantizeLSTM"
        key = node.metadata_props.get(REGION_KEY, "") if fused else node.name or ""
        if key not in keys or not (fused or is_op(node, "LSTM", "GRU")):
            continue
        found = _check(node, fused, choose)
        if found is not None:
            yield key, found


def _check(node: ir.Node, fused: bool, choose: DynamicRange) -> RecurrentCheck | None:
    given = [*node.inputs, *[None] * 12]
    before = node.op_type != "GRU" or (node.attributes.get_int("linear_before_reset") or 0)
    if given[4] is not None or given[7] is not None or not before or not node.outputs[0].name:
        return None
    if any(name in node.attributes and node.attributes[name].value for name in _REFUSED):
        return None
    pairs = [_laid_out(given[1], given[8]), _laid_out(given[2], given[10])]
    pairs = pairs if fused else [_stored(given[1]), _stored(given[2])]
    w, r = pairs
    bias = None if given[3] is None else constant(given[3])
    if w is None or r is None or given[0] is None or (bias is None and given[3] is not None):
        return None
    gates = w[0].shape[1]
    halves = np.zeros((len(w[0]), 2 * gates)) if bias is None else bias.astype(np.float64)
    return RecurrentCheck(
        "LSTM" if fused else node.op_type,
        given[0],
        node.outputs[0],
        (given[5], given[6] if node.op_type != "GRU" else None),
        tuple(map(Product, *w, halves[:, :gates])),
        tuple(map(Product, *r, halves[:, gates:])),
        node.attributes.get_string("direction", "forward") == "reverse",
        choose,
        splits=fused,
    )


def _laid_out(data: ir.Value | None, scale: ir.Value | None) -> _Weights | None:
    """DynamicQuantizeLSTM: [directions, inputs, gates], scales [directions, gates]."""
    values, steps = constant(data), constant(scale)
    if values is None or steps is None or steps.ndim != 2:
        return None
    return values.transpose(0, 2, 1).astype(np.float64), steps.astype(np.float64)


def _stored(value: ir.Value | None) -> _Weights | None:
    """A float weight, as the plan has it quantized, or integers behind DequantizeLinear.

    Scales are those of gate rows, over all directions; zero points are 0.
    """
    node = value.producer() if value is not None else None
    if node is not None and is_op(node, "DequantizeLinear"):
        integers, scale = constant(node.inputs[0]), constant(node.inputs[1])
    else:
        array = constant(value)
        if array is None or array.ndim != 3:
            return None
        params = weight_qparams(np.asarray(array, np.float32), S8_SYMMETRIC_PER_CHANNEL, 1)
        integers, scale = quantize(np.asarray(array, np.float32), params), params.scale
    if integers is None or scale is None or integers.dtype != np.int8:
        return None
    steps = np.broadcast_to(scale.reshape(1, -1), integers.shape[:2])
    return integers.astype(np.float64), steps.astype(np.float64)
