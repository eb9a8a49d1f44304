"""Recurrent layers: which have a dynamic kernel, and W and R as int8 behind DequantizeLinear."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op
from qcompiler.lowering.torch_fx.constants import array_of
from qcompiler.quantization.numerics import quantize
from qcompiler.quantization.parameters import weight_qparams
from qcompiler.quantization.qspace import S8_SYMMETRIC_PER_CHANNEL

RECURRENT = ("LSTM", "GRU")
_ROWS = 1
"""Axis of the gate rows in W [directions, gates, input] and R [directions, gates, hidden]."""


def recurrent_objection(node: ir.Node) -> str | None:
    """Why a recurrent node has no dynamic kernel, None if it has one."""
    attributes = node.attributes
    given = [v is not None for v in node.inputs] + [False] * 8
    if any(given[i] and array_of(node.inputs[i]) is None for i in (1, 2, 3)):
        return "its weights or biases are computed at run time"
    if given[4] or (node.op_type == "LSTM" and given[7]):
        return "sequence lengths and peepholes are float only"
    if any(name in attributes for name in ("activations", "clip")) or attributes.get_int(
        "input_forget"
    ):
        return "other activations than the default are float only"
    if attributes.get_int("layout"):
        return "layout 1 is float only"
    if node.op_type == "GRU" and not attributes.get_int("linear_before_reset"):
        return "torch's GRU multiplies by the reset gate after the product"
    return None


def quantize_recurrent(program: Program, regions: list[Region], precision: str) -> Program:
    """The program with int8 weights in every recurrent region that the plan runs in `precision`.

    Returns a clone when there is something to do, else the program itself.
    """
    plan = program.plan
    names = {
        region.anchor.name
        for region in regions
        if plan is not None and region.kind in RECURRENT and plan.precision(region.key) == precision
    }
    if not names:
        return program
    changed = program.clone()
    rewriter = Rewriter(changed)
    for node in list(ir.traversal.RecursiveGraphIterator(changed.graph)):
        if node.op_type in RECURRENT and node.name in names:
            for index in (1, 2):
                _store(node, index, rewriter)
    rewriter.drop_unused_constants()
    return changed


def _store(node: ir.Node, index: int, rewriter: Rewriter) -> None:
    value = node.inputs[index]
    array = constant(value)
    if array is None or value is None or is_op(value.producer(), "DequantizeLinear"):
        return  # stored as integers already
    params = weight_qparams(np.asarray(array, np.float32), S8_SYMMETRIC_PER_CHANNEL, _ROWS)
    name = value.name or "weight"
    integers = quantize(np.asarray(array, np.float32), params)
    parts = [
        rewriter.constant(ir.Tensor(integers), f"{name}_quantized"),
        rewriter.constant(np.asarray(params.scale, np.float32), f"{name}_scale"),
        rewriter.constant(ir.Tensor(params.zero_point.astype(np.int8)), f"{name}_zero_point"),
    ]
    copy = rewriter.insert(
        "DequantizeLinear",
        parts,
        before=node,
        attributes={"axis": _ROWS},
        outputs=[f"{name}_dequantized"],
        dtype=ir.DataType.FLOAT,
        shape=value.shape,
    )
    rewriter.set_input(node, index, copy.outputs[0])
