"""What TensorRT runs in integers or float8, and in which form; the rows are `explicit_qdq`'s."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.decisions.roundings import reduction_axis
from qcompiler.ir.regions import Region, RegionPattern
from qcompiler.quantization.qspace import (
    F8_E4M3,
    S8_SYMMETRIC,
    S8_SYMMETRIC_PER_CHANNEL,
    Granularity,
    QSpace,
)
from qcompiler.target.capability import (
    CapabilityTable,
    Constraint,
    Implementation,
    Kernel,
    OpCapability,
)
from qcompiler.target.explicit_qdq import FLOAT32, eight_bit

_FP8_FILTER = 32


def _small_filter(region: Region) -> str | None:
    """TensorRT-RTX compiles float8 convolutions with larger filters in float: 1x32 yes, 1x33 no."""
    shape = region.weight.value.shape if region.weight is not None else None
    if shape is None or not shape.is_static():
        return None
    area = int(np.prod(shape.numpy()[2:]))
    return None if area <= _FP8_FILTER else f"its filter has {area} elements, more than 32"


INT8_TABLE = eight_bit("int8", S8_SYMMETRIC, S8_SYMMETRIC_PER_CHANNEL)
_FP8 = eight_bit("fp8", F8_E4M3, F8_E4M3.with_granularity(Granularity.CHANNEL))


FILTER = Constraint("TRT08", _small_filter, "measured; ModelOpt 0.47 has the same limit")


FP8_TABLE = _FP8.overlay(
    [_FP8.narrowed("Conv", FILTER)], without=("AveragePool", "GlobalAveragePool", "MaxPool")
)
"""TensorRT has no FP8 pooling: ModelOpt leaves pools out, and MaxPool does not commute."""


def weight_only(block: int) -> CapabilityTable:
    """Int4 weights in blocks along the reduction axis, for MatMul and Gemm.

    Source: TensorRT documentation, quantized-types-schemes: blocks of 64 and 128.
    """
    space = QSpace(ir.DataType.INT4, True, Granularity.GROUP, group_size=block)
    form = Implementation("int4-weights", kernel=Kernel.WEIGHT_ONLY, weight=space)

    def divides(region: Region) -> str | None:
        """The block divides the reduction axis in two or more, and rows are of even length."""
        weight = region.weight.value if region.weight is not None else None
        if weight is None or weight.shape is None or len(weight.shape) != 2:
            return "its weight is no stored matrix"
        length = weight.shape[reduction_axis(region.anchor)]
        if not isinstance(length, int) or length % block or length == block:
            return f"{length} inputs are no two or more blocks of {block}"
        last = weight.shape[-1]
        return "its last dimension is odd" if isinstance(last, int) and last % 2 else None

    fits = Constraint("TRT07", divides, "NvInfer.h; lint rules T12, T13, T15")
    return CapabilityTable(
        tuple(
            OpCapability(RegionPattern(op), (form,), (FLOAT32, fits)) for op in ("MatMul", "Gemm")
        )
    )
