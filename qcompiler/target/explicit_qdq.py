"""Rows shared by targets that take explicit Q/DQ: both operands quantized, no Q behind.

The placement is that of explicit quantization (TensorRT's developer guide, Q/DQ networks): both
operands of a weighted op are quantized, its output is not; the skip operand of a residual Add is,
the convolution's result is not; ops that commute with Q/DQ have none behind them. OpenVINO's
low-precision transformations look for the same. Each row was compiled by TensorRT-RTX 1.7.1 in the
type that the row says.
"""

from __future__ import annotations

from qcompiler.ir.optraits import TRAITS
from qcompiler.ir.regions import Epilogue, Region, RegionPattern, Stage
from qcompiler.ir.walk import is_op, rank, uses
from qcompiler.quantization.qspace import QSpace, Range
from qcompiler.target.capability import (
    CapabilityTable,
    Constraint,
    Implementation,
    OpCapability,
)
from qcompiler.target.constraints import data_first, float32_data, stored_weight

COMMUTING: dict[str, tuple[int, ...] | None] = {
    "MaxPool": (0,),
    "GlobalMaxPool": (0,),
    "ReduceMax": (0,),
    "Transpose": (0,),
    "Reshape": (0,),
    "Flatten": (0,),
    "Squeeze": (0,),
    "Unsqueeze": (0,),
    "Expand": (0,),
    "Tile": (0,),
    "Gather": (0,),
    "GatherElements": (0,),
    "Slice": (0,),
    "Split": (0,),
    "Pad": (0,),
    "DepthToSpace": (0,),
    "SpaceToDepth": (0,),
    "Identity": (0,),
    "Dropout": (0,),
    "Max": None,
    "Where": (1, 2),
    "Concat": None,
}
"""Ops that DQ moves forward through, with their data operands (None: all of them).

Source: TensorRT developer guide, Q/DQ networks; each row measured with TensorRT-RTX 1.7.1.
"""

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
    return None if region.kind in ("Concat", "Max", "Where") else data_first(region)


def _feeds_product(region: Region) -> str | None:
    """A fixed range helps where attention weights enter a product; other softmaxes stay float."""
    users = [use.node for use in uses(region.output)]
    if users and all(is_op(user, "MatMul") for user in users):
        return None
    return "its result enters no matrix product"


FLOAT32 = Constraint("TRT01", float32_data, "base type is set when the program is lowered")
STORED = Constraint("TRT02", stored_weight, "developer guide: quantized weights are constants")
MATRIX = Constraint("TRT03", _matrix, "NvInfer.h, IMatrixMultiplyLayer")
GEMM = Constraint("TRT04", _plain_gemm, "not measured")
FIRST = Constraint("TRT05", _data_first)
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


def deconvolution(table: CapabilityTable) -> OpCapability:
    """The opt-in row of ConvTranspose: int8 on TensorRT proper, float on TensorRT-RTX.

    Source: ModelOpt 0.47 (weight axis 1, group 1); NVIDIA/TensorRT issues 1519, 1694, 1699.
    """
    conv = table.row("Conv")
    assert conv is not None
    return OpCapability(
        RegionPattern("ConvTranspose", (_ACTIVATION,)), conv.implementations, conv.constraints
    )
