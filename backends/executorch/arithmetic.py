"""The integer rules of XNNPACK's kernels that are not ONNX Runtime's.

Source: XNNPACK, src/microparams-init.c (`xnn_init_qs8_add_minmax_scalar_params`) and
src/qs8-vadd. Other kernels requantize in float32 and round to even, as the reference does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qcompiler.execution.integer.fixed_point import fixed_point_sum
from qcompiler.execution.integer.operand import (
    Array,
    Attributes,
    Operand,
    QuantizedOperand,
    as_quantized,
    as_real,
)
from qcompiler.quantization.numerics import round_saturate
from qcompiler.quantization.qspace import QParams
from qcompiler.target.arithmetic import Arithmetic

_BITS = 20
"""Of the larger multiplier, behind its leading one."""


def _sum(sign: int) -> Callable[..., Array]:
    """a + sign * b, both ratios of scales in 21 bits, halves rounded up."""

    def kernel(
        attributes: Attributes,
        inputs: Sequence[Operand],
        weight: QuantizedOperand | None,
        bias: Array | None,
        output: QParams | None,
    ) -> Array:
        if output is None:
            return np.asarray(as_real(inputs[0]) + np.float32(sign) * as_real(inputs[1]))
        a, b = as_quantized(inputs[0], 0), as_quantized(inputs[1], 1)
        total, shift = fixed_point_sum(a, b, output, _BITS, sign)
        whole = (total + (1 << (shift - 1))) >> shift
        return round_saturate(whole.astype(np.float64), output.zero_point, output.space)

    return kernel


ARITHMETIC = Arithmetic(kernels={"Add": _sum(1), "Sub": _sum(-1)}, clips=True)
