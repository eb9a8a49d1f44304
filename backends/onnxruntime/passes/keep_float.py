"""`keep-float`: keeps ONNX Runtime from running in integers what the plan runs in float.

Its optimizer takes every operator of a list between DequantizeLinear and QuantizeLinear for an
integer kernel, whatever its attributes (qdq_selector_action_transformer.cc): some kernels then
count otherwise than the operator, fail, or end the process. A Sum of one operand in front of the
operator copies it, is removed by no optimizer and is not looked through by that one.

Another optimizer moves QuantizeLinear in front of MaxPool (qdq_propagation.cc). Behind a float
operator that reads NCHW, where MaxPool of [1, 32, 64, 400] takes 2.41 ms on uint8 and 0.12 ms on
floats (ONNX Runtime 1.31.1, one thread, docs/onnxruntime.md); there the Sum stands behind the pool.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from qcompiler.errors import ConfigurationError
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_graphs, is_op, producer_of, uses
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.target.capability import Kernel

_REPLACED = frozenset(
    {
        "Add", "AveragePool", "Concat", "Conv", "GlobalAveragePool", "LeakyRelu", "Mul", "Resize",
        "Sigmoid", "Softmax", "Where",
    }
)  # fmt: skip
"""Ops whose kernels on integers compute otherwise than in float; others only move elements."""
_MOVED_OVER = frozenset({"MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Ops that QuantizeLinear is moved in front of."""
_ABSORBED = frozenset({"Relu", "Clip"})
"""Ops whose range QuantizeLinear may absorb."""
_OUTPUT_OPTIONAL = frozenset({"MatMul", "Gemm"})
"""Ops that are replaced without QuantizeLinear behind them, too."""


@dataclass(frozen=True)
class KeepFloat(Pass):
    """Puts a Sum of one operand in front of float operators that would be replaced."""

    name: ClassVar[str] = "keep-float"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if context.target is None or program.plan is None:
            raise ConfigurationError(
                "keep-float needs a target and a plan",
                fix="run it within qc.compile, or with PassContext(target=...)",
            )
        table = context.target.capabilities
        precisions = program.plan.precisions
        used = set(precisions.values())
        if not any(form.precision in used and form.kernel is Kernel.STATIC for form in table.forms):
            return Outcome(details={"kept": 0})
        kept = 0
        for graph in all_graphs(program.model):
            for node in list(graph):
                form = table.form(node.op_type, precisions.get(node.name or "", FLOAT))
                if form is None or form.kernel is not Kernel.STATIC:
                    kept += _keep(node, rewriter) or _keep_pool(node, rewriter)
        return Outcome(details={"kept": kept})


def _keep(node: ir.Node, rewriter: Rewriter) -> bool:
    """Puts the Sum in front of the first operand, if the operator would be replaced."""
    if not is_op(node, *_REPLACED, *_OUTPUT_OPTIONAL):
        return False
    first = 1 if is_op(node, "Where") else 0
    # A float bias is no obstacle: ONNX Runtime quantizes it (weight_bias_quantization.cc).
    last = 2 if is_op(node, "Conv", "Gemm") else len(node.inputs)
    operands = [value for value in node.inputs[first:last] if value is not None]
    if not operands or not all(is_op(v.producer(), "DequantizeLinear") for v in operands):
        return False
    if not is_op(node, *_OUTPUT_OPTIONAL) and not _is_quantized(node.outputs[0], _ABSORBED):
        return False
    rewriter.set_input(node, first, _copied(operands[0], node, rewriter, before=node))
    return True


def _keep_pool(node: ir.Node, rewriter: Rewriter) -> bool:
    """Puts the Sum behind a MaxPool on floats, if QuantizeLinear would be moved in front of it."""
    if not is_op(node, "MaxPool") or _comes_from_integers(node.inputs[0]):
        return False
    value = node.outputs[0]
    if value.dtype not in (None, ir.DataType.FLOAT) or not _is_quantized(value, _MOVED_OVER):
        return False
    readers = uses(value)
    rewriter.replace_uses(value, _copied(value, node, rewriter, after=node), only=readers)
    return True


def _copied(
    value: ir.Value,
    origin: ir.Node,
    rewriter: Rewriter,
    before: ir.Node | None = None,
    after: ir.Node | None = None,
) -> ir.Value:
    """The value behind a Sum of one operand."""
    return rewriter.insert(
        "Sum",
        [value],
        before=before,
        after=after,
        origin=[origin],
        outputs=[f"{value.name}_kept"],
        dtype=value.dtype or ir.DataType.FLOAT,
        shape=value.shape,
    ).outputs[0]


def _comes_from_integers(value: ir.Value | None) -> bool:
    """Whether DequantizeLinear writes it, directly or in front of what it is moved over."""
    node = producer_of(value)
    while node is not None and is_op(node, *_MOVED_OVER):
        node = producer_of(node.inputs[0])
    return is_op(node, "DequantizeLinear")


def _is_quantized(value: ir.Value, behind: Iterable[str]) -> bool:
    """Whether QuantizeLinear reads the value, directly or behind these ops."""
    pending = [value]
    while pending:
        readers = [use.node for use in uses(pending.pop())]
        if any(is_op(node, "QuantizeLinear") for node in readers):
            return True
        pending += [node.outputs[0] for node in readers if is_op(node, *behind)]
    return False
