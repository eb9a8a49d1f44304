"""Rules about the GPU: T22 and T23, measured with TensorRT-RTX 1.7.1 on a CPU."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qcompiler.backends.tensorrt.lint.rule import Finding, Verdict
from qcompiler.backends.tensorrt.lint.view import View, both_sides, stored_type
from qcompiler.ir.optraits import LINEAR
from qcompiler.ir.walk import is_op

FIRST_CAPABILITY = {
    ir.DataType.FLOAT8E4M3FN: 89,
    ir.DataType.INT4: 80,
    ir.DataType.FLOAT4E2M1: 120,
}
"""Lowest compute capability that has the type."""

_TURING = 75
_RECURRENT = ("LSTM", "GRU", "RNN")


def needed_capability(view: View) -> Iterator[Finding]:
    """T22: the GPU has the quantized type."""
    for found in view.quantizations:
        dtype = found.stored_type
        needed = FIRST_CAPABILITY.get(dtype, 0) if dtype is not None else 0
        if view.compute_capability < needed:
            assert dtype is not None
            yield Finding(found.node, f"{dtype.name.lower()} needs SM {needed}")


def missing_kernels(view: View) -> Iterator[Finding]:
    """T23: at SM 75 TensorRT-RTX has no int8 convolution and no product with float32 results.

    An LSTM, GRU or RNN is decomposed into products.
    """
    if view.compute_capability != _TURING:
        return
    for node in view.nodes:
        if not is_op(node, *LINEAR, *_RECURRENT):
            continue
        product = is_op(node, "MatMul", "Gemm", *_RECURRENT)
        if product and _results_in_float32(node):
            yield Finding(node, "no matrix product with float32 results at SM 75", Verdict.REJECTED)
        elif not product and _int8(node):
            yield Finding(node, "no int8 convolution at SM 75")


def _int8(node: ir.Node) -> bool:
    return any(side and side.stored_type is ir.DataType.INT8 for side in both_sides(node))


def _results_in_float32(node: ir.Node) -> bool:
    """Unless both operands are known to be another type, products are taken to be float32."""
    types = {stored_type(value) for value in node.inputs[:2]}
    return not types & {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
