"""What TensorRT runs in integers or float8, and in which form.

The placement is that of explicit quantization (developer guide, Q/DQ networks): both operands of
a weighted op are quantized, its output is not; the skip operand of a residual Add is, the
convolution's result is not; ops that commute with Q/DQ have none behind them. Rows carry their
source; each was compiled by TensorRT-RTX 1.7.1 in the type that the row says.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.backends.tensorrt.lint.view import COMMUTING
from qcompiler.ir.optraits import TRAITS
from qcompiler.ir.regions import Epilogue, Region, RegionPattern, Stage
from qcompiler.ir.walk import is_op, rank, uses
from qcompiler.passes.placement.weight_blocks import reduction_axis
from qcompiler.quantization.qspace import (
    S8_SYMMETRIC,
    S8_SYMMETRIC_PER_CHANNEL,
    Granularity,
    QSpace,
    Range,
)
from qcompiler.target.capability import (
    CapabilityTable,
    Constraint,
    Implementation,
    Kernel,
    OpCapability,
)
from qcompiler.target.constraints import float32_data, stored_weight

F8 = QSpace(ir.DataType.FLOAT8E4M3FN, symmetric=True)
_UNIT = Range(0.0, 1.0)
_ACTIVATIONS = frozenset({"Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Selu"})
_RESIDUAL = Epilogue(Stage.RESIDUAL_ADD, frozenset({"Add"}))
_ACTIVATION = Epilogue(Stage.ACTIVATION, _ACTIVATIONS)
_CONVOLUTION = (_RESIDUAL, _ACTIVATION)
_POOLS = ("AveragePool", "GlobalAveragePool")
_MOVERS = tuple(
    op for op in COMMUTING if op in TRAITS and TRAITS[op].shares_scale and op != "Split"
)


def _matrix(region: Region) -> str | None:
    """A vector operand has no channel axis, and TensorRT unsqueezes it."""
    if region.weight is not None and (rank(region.weight.value) or 0) < 2:
        return "its weight is a vector"
    return None


def _plain_gemm(region: Region) -> str | None:
    node = region.anchor
    scaled = [node.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta")]
    return "Gemm with alpha or beta other than 1" if any(scaled) else None


def _data_first(region: Region) -> str | None:
    """Movers whose data is their first operand, or all of them."""
    if region.kind not in ("Concat", "Max", "Where") and region.activations[0].index != 0:
        return "data is not the first operand"
    return None


def _feeds_product(region: Region) -> str | None:
    """A fixed range helps where attention weights enter a product; other softmaxes stay float."""
    users = [use.node for use in uses(region.output)]
    if users and all(is_op(user, "MatMul") for user in users):
        return None
    return "its result enters no matrix product"


_FP8_FILTER = 32


def _small_filter(region: Region) -> str | None:
    """TensorRT-RTX compiles float8 convolutions with larger filters in float: 1x32 yes, 1x33 no."""
    shape = region.weight.value.shape if region.weight is not None else None
    if shape is None or not shape.is_static():
        return None
    area = int(np.prod(shape.numpy()[2:]))
    return None if area <= _FP8_FILTER else f"its filter has {area} elements, more than 32"


FLOAT32 = Constraint("TRT01", float32_data, "base type is set when the program is lowered")
STORED = Constraint("TRT02", stored_weight, "developer guide: quantized weights are constants")
MATRIX = Constraint("TRT03", _matrix, "NvInfer.h, IMatrixMultiplyLayer")
GEMM = Constraint("TRT04", _plain_gemm, "not measured")
FIRST = Constraint("TRT05", _data_first)
FILTER = Constraint("TRT08", _small_filter, "measured; ModelOpt 0.47 has the same limit")
PRODUCT = Constraint("TRT06", _feeds_product, "ModelOpt 0.47 quantizes Softmax -> MatMul only")


def eight_bit(precision: str, activation: QSpace, weight: QSpace) -> CapabilityTable:
    """The table of an 8-bit precision.

    Args:
        precision: Name in plans: `int8` or `fp8`.
        activation: Space of activations, per tensor.
        weight: Space of weights, per output channel.
    """
    weighted = Implementation(precision, activation=activation, weight=weight)
    product = Implementation(f"{precision}-two-activations", activation=activation)
    pooled = Implementation(precision, activation=activation, output=activation)
    moved = Implementation(precision, activation=activation, output=activation, shares_scale=True)
    unit = Implementation(precision, output=activation, output_range=_UNIT)
    rows = [
        OpCapability(RegionPattern("Conv", _CONVOLUTION), (weighted,), (FLOAT32, STORED)),
        OpCapability(RegionPattern("Gemm"), (weighted,), (FLOAT32, STORED, GEMM)),
        OpCapability(RegionPattern("MatMul"), (weighted, product), (FLOAT32, MATRIX)),
        OpCapability(RegionPattern("Softmax"), (unit,), (FLOAT32, PRODUCT)),
    ]
    rows += [OpCapability(RegionPattern(op), (pooled,), (FLOAT32,)) for op in _POOLS]
    rows += [OpCapability(RegionPattern(op), (moved,), (FLOAT32, FIRST)) for op in _MOVERS]
    return CapabilityTable(tuple(rows))


INT8_TABLE = eight_bit("int8", S8_SYMMETRIC, S8_SYMMETRIC_PER_CHANNEL)
_FP8 = eight_bit("fp8", F8, F8.with_granularity(Granularity.CHANNEL))


def _limited(table: CapabilityTable) -> OpCapability:
    """The row of Conv under the limit that float8 kernels have."""
    row = table.row("Conv")
    assert row is not None
    return OpCapability(row.pattern, row.implementations, (*row.constraints, FILTER))


FP8_TABLE = _FP8.overlay([_limited(_FP8)], without=("AveragePool", "GlobalAveragePool", "MaxPool"))
"""TensorRT has no FP8 pooling: ModelOpt leaves pools out, and MaxPool does not commute."""


def deconvolution(table: CapabilityTable) -> OpCapability:
    """The opt-in row of ConvTranspose: int8 on TensorRT proper, float on TensorRT-RTX.

    Source: ModelOpt 0.47 (weight axis 1, group 1); NVIDIA/TensorRT issues 1519, 1694, 1699.
    """
    conv = table.row("Conv")
    assert conv is not None
    return OpCapability(
        RegionPattern("ConvTranspose", (_ACTIVATION,)), conv.implementations, conv.constraints
    )


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
