"""Sums by multipliers of fixed point, as QNNPACK and its successor XNNPACK take them."""

from __future__ import annotations

import numpy as np

from qcompiler.execution.integer.operand import Array, QuantizedOperand
from qcompiler.quantization.qspace import QParams


def fixed_point_sum(
    a: QuantizedOperand, b: QuantizedOperand, output: QParams, bits: int, sign: int = 1
) -> tuple[Array, int]:
    """a + sign * b, and by how many bits it has to be shifted to be in steps of the output.

    Args:
        a: First operand, per tensor.
        b: Second operand, per tensor.
        output: Of the result; how halves are rounded behind the shift is the kernel's own.
        bits: Of the larger ratio of scales, behind its leading one; the other has as many places.
        sign: 1 or -1.
    """
    ratios = [np.float64(each.params.scale / output.scale) for each in (a, b)]
    shift = bits - int(np.floor(np.log2(max(ratios))))
    first, second = (int(np.rint(ratio * 2.0**shift)) for ratio in ratios)
    left, right = (each.centred.astype(np.int64) for each in (a, b))
    return first * left + sign * second * right, shift
