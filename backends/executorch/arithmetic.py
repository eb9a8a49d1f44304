"""The integer rules of XNNPACK's kernels that are not ONNX Runtime's.

Source: XNNPACK, src/microparams-init.c (`xnn_init_qs8_add_minmax_scalar_params`) and
src/qs8-vadd. Other kernels requantize in float32 and round to even, as the reference does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

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
        pair = [as_quantized(inputs[i], i) for i in (0, 1)]
        ratios = [np.float64(each.params.scale / output.scale) for each in pair]
        shift = _BITS - int(np.floor(np.log2(max(ratios))))
        factors = [int(np.rint(ratio * 2.0**shift)) for ratio in ratios]
        a, b = (each.centred.astype(np.int64) for each in pair)
        total = factors[0] * a + sign * factors[1] * b
        whole = (total + (1 << (shift - 1))) >> shift
        return round_saturate(whole.astype(np.float64), output.zero_point, output.space)

    return kernel


ARITHMETIC = Arithmetic(kernels={"Add": _sum(1), "Sub": _sum(-1)}, clips=True)
