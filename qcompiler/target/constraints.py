"""Conditions that several targets share; each gives the reason why a region fails it, or None."""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.ir.regions import Region


def float32_data(region: Region) -> str | None:
    """The integer kernels quantize from and dequantize to float32 only."""
    kinds = {operand.value.dtype for operand in region.activations} - {None, ir.DataType.FLOAT}
    if kinds:
        return f"its data is {', '.join(sorted(k.name.lower() for k in kinds if k))}, not float32"
    return None
