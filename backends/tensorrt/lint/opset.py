"""Rule T16: which operator set a construct needs."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qcompiler.backends.tensorrt.lint.rule import Finding, Verdict
from qcompiler.backends.tensorrt.lint.view import Quantization, View

PARSER_RANGE = (9, 25)
"""Documented opsets of the parser (TensorRT 11, ONNX opset guide)."""

_SINCE = {
    ir.DataType.FLOAT8E4M3FN: 19,
    ir.DataType.INT4: 21,
    ir.DataType.FLOAT4E2M1: 23,
}


def needed_opset(view: View) -> Iterator[Finding]:
    """T16: the model's opset has the form of quantization that the model uses."""
    low, high = PARSER_RANGE
    if not low <= view.opset <= high:
        message = f"opset {view.opset} is outside the documented range {low} to {high}"
        yield Finding(None, message, Verdict.ADVICE)
    for found in view.quantizations:
        needed, form = _need(found)
        if view.opset < needed:
            yield Finding(found.node, f"{form} needs opset {needed}, the model has {view.opset}")


def _need(found: Quantization) -> tuple[int, str]:
    if found.block:
        return 21, "blocked quantization"
    dtype = found.stored_type
    if dtype in _SINCE:
        return _SINCE[dtype], dtype.name.lower()
    return (10, "quantization") if found.per_tensor else (13, "quantization per channel")
