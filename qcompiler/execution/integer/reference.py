"""`reference`: one op in integers, the oracle that engines are compared with (DESIGN section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qcompiler.errors import ConfigurationError
from qcompiler.execution.integer.convolution import conv, conv_transpose
from qcompiler.execution.integer.elementwise import ELEMENTWISE
from qcompiler.execution.integer.operand import (
    Array,
    Attributes,
    Kernel,
    Operand,
    QuantizedOperand,
)
from qcompiler.execution.integer.pooling import average_pool, global_average_pool, max_pool
from qcompiler.execution.integer.products import gemm, matmul
from qcompiler.quantization.qspace import QParams

KERNELS: dict[str, Kernel] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MatMul": matmul,
    "Gemm": gemm,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    **ELEMENTWISE,
}
"""ONNX op to its integer kernel."""


def reference(
    op_type: str,
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None = None,
    bias: Array | None = None,
    output: QParams | None = None,
    *,
    relu: bool = False,
    kernels: Mapping[str, Kernel] = KERNELS,
) -> Array:
    """Runs one op as ONNX Runtime's QLinear kernels define it.

    Args:
        op_type: A key of `KERNELS`.
        attributes: ONNX attributes as Python values; `auto_pad` resolved into `pads`.
        inputs: Activations; the second one of MatMul may be here instead of in `weight`.
        weight: Quantized constant, per tensor or per channel.
        bias: int32 in steps of input scale * weight scale, or float32, which is brought to that.
        output: Per-tensor parameters of the result; None gives float32 (as MatMulIntegerToFloat).
        relu: Clamp the result at its zero point (a ReLU absorbed before the output's Q).
        kernels: Other rules by op, for engines that have them.

    Returns:
        Integers of the output's storage type, or float32.

    Raises:
        ConfigurationError: An op without a kernel, or operands that it does not take.
    """
    if op_type not in kernels:
        raise ConfigurationError(
            f"{op_type} has no integer reference",
            fix=f"ops that have: {', '.join(sorted(kernels))}",
        )
    result = kernels[op_type](attributes, inputs, weight, bias, output)
    if relu:
        floor = 0 if output is None else int(output.zero_point)
        result = np.maximum(result, np.asarray(floor, result.dtype))
    return result
