"""MatMul and Gemm in integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qcompiler.errors import ConfigurationError
from qcompiler.execution.integer.operand import (
    Array,
    Attributes,
    Operand,
    QuantizedOperand,
    as_quantized,
    finish,
)
from qcompiler.quantization.qspace import QParams


def matmul(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """ONNX MatMul (a bias is that of a following Add). Channels are the last axis of the weight.

    Two activations: pass both in `inputs` and no weight.
    """
    left = as_quantized(inputs[0], 0)
    right = weight if weight is not None else as_quantized(inputs[1], 1)
    sums = np.matmul(left.centred, right.centred)
    return finish(sums, left.params, right.params, bias, output, -1)


def gemm(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """ONNX Gemm with alpha = beta = 1. Channels: weight axis 0 with transB, else 1."""
    if attributes.get("alpha", 1.0) != 1.0 or (
        bias is not None and attributes.get("beta", 1.0) != 1.0
    ):
        raise ConfigurationError("alpha and beta must be folded into weight and bias first")
    left = as_quantized(inputs[0], 0)
    right = weight if weight is not None else as_quantized(inputs[1], 1)
    rows = left.centred.T if attributes.get("transA", 0) else left.centred
    columns = right.centred.T if attributes.get("transB", 0) else right.centred
    return finish(np.matmul(rows, columns), left.params, right.params, bias, output, -1)
