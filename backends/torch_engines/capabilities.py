"""What torch's quantized engines run in integers: one table, with an overlay per engine.

Every row has a kernel in `kernels.table`. Matrix products of two activations, softmax and
normalisation have kernels that compute in float inside, so they are rows of `NORMALIZATION` only,
which is off unless asked for: a float island gives the same time and a better result. GELU, PRelu
and bilinear Resize have kernels that are slower than a float island (docs/torch-engines.md), and no
row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx_ir as ir

from qcompiler.backends.torch_engines.recurrent_weights import recurrent_objection
from qcompiler.backends.torch_engines.rules import (
    bias_objection,
    bounds_objection,
    factors_objection,
    max_pool_objection,
    mean_objection,
    pad_objection,
    planar_objection,
    resize_objection,
    sixth_objection,
    transposed_objection,
    wide_fill,
)
from qcompiler.backends.torch_engines.skips import may_overwrite_skip
from qcompiler.ir.optraits import TRAITS
from qcompiler.ir.regions import Epilogue, Region, RegionPattern, Stage
from qcompiler.ir.walk import is_op, rank
from qcompiler.quantization.qspace import (
    S8_SYMMETRIC,
    S8_SYMMETRIC_PER_CHANNEL,
    U8_AFFINE,
    Granularity,
    QSpace,
    Range,
)
from qcompiler.target.capability import (
    BiasForm,
    CapabilityTable,
    Constraint,
    Implementation,
    Kernel,
    OpCapability,
    with_tensor_weights,
)
from qcompiler.target.constraints import (
    data_first,
    float32_data,
    stored_weight,
    two_activations,
)


def _constant_bounds(node: ir.Node) -> bool:
    """Relu, or Clip with constant bounds: both are cut on the integers, exactly."""
    return bounds_objection(node) is None


def _of_anchor(rule: Callable[[ir.Node], str | None]) -> Callable[[Region], str | None]:
    """A rule over a node as one over the region that it anchors."""
    return lambda region: rule(region.anchor)


ACTIVATION = Epilogue(Stage.ACTIVATION, frozenset({"Relu", "Clip"}), _constant_bounds)
BIAS = Epilogue(Stage.BIAS_ADD, frozenset({"Add"}))
RESIDUAL = Epilogue(Stage.RESIDUAL_ADD, frozenset({"Add"}), may_overwrite_skip)

PER_CHANNEL = Implementation(
    "int8", activation=U8_AFFINE, weight=S8_SYMMETRIC_PER_CHANNEL, output=U8_AFFINE
)
PER_TENSOR = Implementation("int8", activation=U8_AFFINE, weight=S8_SYMMETRIC, output=U8_AFFINE)
DYNAMIC = Implementation("int8-dynamic", kernel=Kernel.DYNAMIC, weight=S8_SYMMETRIC_PER_CHANNEL)
ELEMENTWISE = Implementation("int8", activation=U8_AFFINE, output=U8_AFFINE)
UNIT = Implementation("int8", activation=U8_AFFINE, output=U8_AFFINE, output_range=Range(0.0, 1.0))
UNIT_256 = replace(UNIT, output_range=Range(0.0, 255 / 256))
"""Scale 1/256: the only one that torch's hardsigmoid, and qnnpack's sigmoid, write."""
HALF_UNIT_128 = replace(UNIT, output_range=Range(-1.0, 127 / 128))
"""Scale 1/128, zero point 128: the only one that torch's tanh writes."""
TABLE_8, TABLE_4 = (
    Implementation(name, Kernel.WEIGHT_ONLY, weight=QSpace(dtype, False, Granularity.CHANNEL))
    for name, dtype in (("int8-weights", ir.DataType.UINT8), ("int4-weights", ir.DataType.UINT4))
)
"""Look-ups in tables with one scale and zero point per row; rows come out in float."""
KEPT = Implementation("int8", activation=U8_AFFINE, output=U8_AFFINE, shares_scale=True)


def _spatial(region: Region) -> str | None:
    dims = rank(region.weight.value) if region.weight is not None else None
    if dims is not None and not 3 <= dims <= 5:
        return f"the kernels have 1 to 3 spatial axes, this one has {dims - 2}"
    return None


def _matrix(region: Region) -> str | None:
    if region.weight is not None and rank(region.weight.value) != 2:
        return "the kernel takes a weight of two dimensions"
    if rank(region.activations[0].value) == 1:
        return "the kernel takes inputs of two dimensions or more"
    return None


def _same_rank(region: Region) -> str | None:
    if len({rank(operand.value) for operand in region.activations}) > 1:
        return "the kernel takes operands of one rank"
    return None


def _plain_gemm(region: Region) -> str | None:
    found = factors_objection(region.anchor)
    weight = region.weight
    if found is not None or weight is None or weight.value.shape is None:
        return found
    columns = weight.value.shape[0 if region.anchor.attributes.get_int("transB", 0) else 1]
    bias = region.anchor.inputs[2] if len(region.anchor.inputs) > 2 else None
    return bias_objection(bias, columns) if isinstance(columns, int) else None


def _narrow_factors(region: Region) -> str | None:
    """Squares and factors 1 / x spread over decades: a LayerNorm that was taken apart."""
    values = [operand.value for operand in region.activations]
    if len(values) == 2 and values[0] is values[1]:
        return "it squares its operand, which one scale per tensor cannot hold"
    if any(is_op(value.producer(), "Reciprocal", "Pow", "Exp") for value in values):
        return "a factor is 1 / x, a power or an exponential: one scale per tensor cannot hold it"
    return None


def _rows(region: Region) -> str | None:
    table = region.weight
    if table is None:
        return None  # data that is computed is moved
    if rank(table.value) != 2 or region.anchor.attributes.get_int("axis", 0) not in (0, -2):
        return "the kernel looks up rows of a matrix"
    if table.value.dtype not in (None, ir.DataType.FLOAT):
        return "the kernel writes float32"
    return None


def _image(region: Region) -> str | None:
    dims = rank(region.activations[0].value)
    if dims is not None and 3 <= dims <= 5:
        return None
    return f"the kernels have 1 to 3 spatial axes, this has {dims} dimensions"


def _explicit_pads(region: Region) -> str | None:
    if region.anchor.attributes.get_string("auto_pad", "NOTSET").startswith("SAME"):
        return "its pads follow from a size that is known at run time only"
    return None


FLOAT32 = Constraint("TQ01", float32_data)
_STORED = Constraint("TQ02", stored_weight)
_SPATIAL = Constraint("TQ03", _spatial)
_MATRIX = Constraint("TQ04", _matrix)
_SAME_RANK = Constraint("TQ17", _same_rank, "quantized::matmul, qmatmul.cpp")
_GEMM = Constraint("TQ05", _plain_gemm)
PAIR = Constraint("TQ06", two_activations, "accuracy; constants are per tensor")
_NARROW = Constraint("TQ14", _narrow_factors, "accuracy; magika: 0.92 to 0.23")
_FIRST = Constraint("TQ07", data_first)
_IMAGE = Constraint("TQ08", _image)
_MEAN = Constraint("TQ09", _of_anchor(mean_objection))
_AVERAGE = Constraint("TQ10", _explicit_pads)
_COPIES = Constraint("TQ11", _of_anchor(resize_objection))
_ROWS = Constraint("TQ15", _rows, "embedding_bag_byte_rowwise_offsets")
_TRANSPOSED = Constraint("TQ22", _of_anchor(transposed_objection))
_PAD = Constraint("TQ20", _of_anchor(pad_objection))
_FILL = Constraint("TQ23", _of_anchor(wide_fill), "accuracy; quantized pads keep the scale")
_VALUES = Constraint("TQ21", _of_anchor(max_pool_objection))
PLANAR = Constraint("TQ18", _of_anchor(planar_objection), "qmaxpool.cpp")
_CLIP = Constraint("TQ16", _of_anchor(bounds_objection))
_SIXTH = Constraint("TQ13", _of_anchor(sixth_objection))

CONV = OpCapability(
    RegionPattern("Conv", (ACTIVATION,)), (PER_CHANNEL,), (FLOAT32, _STORED, _SPATIAL)
)
FUSED_ADD_CONV = OpCapability(
    RegionPattern("Conv", (RESIDUAL, ACTIVATION)), CONV.implementations, CONV.constraints
)
TRANSPOSED = OpCapability(
    RegionPattern("ConvTranspose", (ACTIVATION,)),
    (PER_TENSOR,),
    (FLOAT32, _STORED, _SPATIAL, _TRANSPOSED),
)
_PRODUCTS = (
    OpCapability(
        RegionPattern("Gemm", (ACTIVATION,)),
        (PER_CHANNEL, DYNAMIC),
        (FLOAT32, _STORED, _MATRIX, _GEMM),
    ),
    OpCapability(
        RegionPattern("MatMul", (BIAS, ACTIVATION)),
        (PER_CHANNEL, DYNAMIC),
        (FLOAT32, _STORED, _MATRIX),
    ),
)


def _kernel_recurrent(region: Region) -> str | None:
    return recurrent_objection(region.anchor)


_RECURRENT = tuple(
    OpCapability(
        RegionPattern(op),
        (DYNAMIC,),
        (FLOAT32, _STORED, Constraint("TQ12", _kernel_recurrent)),
    )
    for op in ("LSTM", "GRU")
)
_ARITHMETIC = (
    OpCapability(RegionPattern("Add", (ACTIVATION,)), (ELEMENTWISE,), (FLOAT32, PAIR)),
    OpCapability(RegionPattern("Mul", (ACTIVATION,)), (ELEMENTWISE,), (FLOAT32, PAIR, _NARROW)),
    OpCapability(RegionPattern("Concat", (ACTIVATION,)), (ELEMENTWISE,), (FLOAT32,)),
    OpCapability(RegionPattern("Sigmoid"), (UNIT,), (FLOAT32,)),
    OpCapability(RegionPattern("HardSigmoid"), (UNIT_256,), (FLOAT32, _SIXTH)),
    OpCapability(RegionPattern("Tanh"), (HALF_UNIT_128,), (FLOAT32,)),
    *(
        OpCapability(RegionPattern(op), (ELEMENTWISE,), (FLOAT32,))
        for op in ("HardSwish", "LeakyRelu", "Elu")
    ),
)
_OTHER_MOVERS = frozenset(
    {"Concat", "Identity", "Split", "Gather", "GatherElements", "GatherND", "Pad", "MaxPool"}
)
"""Movers with a row of their own, or without one."""
_KEEPING = (
    OpCapability(
        RegionPattern("Gather", tables=True), (KEPT, TABLE_8, TABLE_4), (FLOAT32, _FIRST, _ROWS)
    ),
    OpCapability(RegionPattern("AveragePool"), (ELEMENTWISE,), (FLOAT32, _IMAGE, _AVERAGE)),
    OpCapability(RegionPattern("GlobalAveragePool"), (ELEMENTWISE,), (FLOAT32, _IMAGE)),
    OpCapability(RegionPattern("ReduceMean"), (ELEMENTWISE,), (FLOAT32, _MEAN)),
    OpCapability(RegionPattern("Relu"), (KEPT,), (FLOAT32,)),
    OpCapability(RegionPattern("Clip"), (KEPT,), (FLOAT32, _FIRST, _CLIP)),
    OpCapability(RegionPattern("Resize"), (KEPT,), (FLOAT32, _COPIES)),
    OpCapability(RegionPattern("Pad"), (KEPT,), (FLOAT32, _FIRST, _PAD, _FILL)),
    OpCapability(RegionPattern("MaxPool"), (KEPT,), (FLOAT32, _FIRST, _VALUES)),
    *(
        OpCapability(RegionPattern(op), (KEPT,), (FLOAT32, _FIRST))
        for op, row in TRAITS.items()
        if row.moves_data and op not in _OTHER_MOVERS
    ),
)
NORMALIZATION = (
    OpCapability(
        RegionPattern("MatMul", (BIAS, ACTIVATION)),
        (PER_CHANNEL, DYNAMIC),
        (FLOAT32, _MATRIX, _SAME_RANK),
    ),
    OpCapability(RegionPattern("Softmax"), (UNIT,), (FLOAT32,)),
    *(
        OpCapability(RegionPattern(op), (ELEMENTWISE,), (FLOAT32,))
        for op in ("LayerNormalization", "GroupNormalization", "InstanceNormalization")
    ),
)
"""Kernels that save memory, not time, and cost accuracy."""

_ALL = (CONV, TRANSPOSED, *_PRODUCTS, *_RECURRENT, *_ARITHMETIC, *_KEEPING)
BASE = CapabilityTable(tuple(map(with_tensor_weights, _ALL)))


def with_int32_bias(table: CapabilityTable) -> CapabilityTable:
    """The table for an engine that adds the bias in int32."""
    rows = [
        replace(row, implementations=tuple(
            replace(form, bias=BiasForm.INT32)
            if form.weight is not None and form.kernel is Kernel.STATIC else form
            for form in row.implementations
        ))
        for row in table.rows
    ]  # fmt: skip
    return table.overlay(rows)
