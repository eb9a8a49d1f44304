"""What ONNX Runtime's CPU provider runs in integers, and in which form.

Source of every row: the operators counted in the graph that ONNX Runtime 1.31.1 writes to
`optimized_model_filepath` for that pattern (docs/onnxruntime.md), AVX512-VNNI. An op without a row
runs in float there, whatever stands around it.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qcompiler.config import WEIGHT_BLOCKS, blocked
from qcompiler.ir.bounds import activation_bounds
from qcompiler.ir.optraits import TRAITS
from qcompiler.ir.regions import Epilogue, Region, RegionPattern, Stage
from qcompiler.ir.walk import constant, is_stored, rank
from qcompiler.quantization.qspace import (
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
)
from qcompiler.target.constraints import float32_data

_WEIGHT = S8_SYMMETRIC_PER_CHANNEL


_BLOCK = 32
"""ONNX Runtime's own default, and what a name without a size stands for."""
_WEIGHT_TYPES = {
    "int8-weights": (ir.DataType.INT8, WEIGHT_BLOCKS),
    "int4-weights": (ir.DataType.INT4, WEIGHT_BLOCKS),
    "int2-weights": (ir.DataType.UINT2, (32, 64, 128)),
}
"""Storage type and block sizes by form; with 2 bits, other sizes take 100 times as long."""
_SEARCHED = ("int8-weights-b128", "int4-weights", "int4-weights-b128")
"""What the search tries. Blocks of 128 are up to 1.4 times as fast as blocks of 32; at 8 bits they
lose next to nothing, at 4 bits the smaller ones are the more accurate choice."""


def block_forms() -> Iterator[Implementation]:
    """Weights in blocks along the reduction axis, by type and block size.

    ONNX Runtime makes MatMulNBits of DequantizeLinear + MatMul or Gemm for blocks of 16 to 256,
    whatever the length of the axis (docs/onnxruntime.md). Two bits have a zero point per block:
    four levels around a fixed 0 would leave one side with a single one.
    """
    for name, (dtype, known) in _WEIGHT_TYPES.items():
        sizes = {name: _BLOCK} | {blocked(name, size): size for size in known}
        for precision, size in sizes.items():
            symmetric = dtype is not ir.DataType.UINT2
            space = QSpace(dtype, symmetric, Granularity.GROUP, size)
            searched = precision in _SEARCHED
            yield Implementation(
                precision, kernel=Kernel.WEIGHT_ONLY, weight=space, searched=searched
            )


def _clip_is_constant(node: ir.Node) -> bool:
    """Relu, or Clip whose bounds are constants with 0 between them."""
    bounds = activation_bounds(node)
    return bounds is not None and bounds.low <= 0 < bounds.high


_ACTIVATION = Epilogue(Stage.ACTIVATION, frozenset({"Relu", "Clip"}), _clip_is_constant)

INTEGER = Implementation(
    "int8", activation=U8_AFFINE, weight=_WEIGHT, bias=BiasForm.INT32, output=U8_AFFINE
)
INTEGER_PRODUCT = Implementation("int8", activation=U8_AFFINE, weight=_WEIGHT, output=U8_AFFINE)
FLOAT_OUT = Implementation("int8-float-out", activation=U8_AFFINE, weight=_WEIGHT)
FLOAT_OUT_BIASED = Implementation(
    "int8-float-out", activation=U8_AFFINE, weight=_WEIGHT, bias=BiasForm.INT32
)
DYNAMIC = Implementation("int8-dynamic", kernel=Kernel.DYNAMIC, weight=_WEIGHT)
ELEMENTWISE = Implementation("int8", activation=U8_AFFINE, output=U8_AFFINE)
UNIT_OUTPUT = Implementation(
    "int8", activation=U8_AFFINE, output=U8_AFFINE, output_range=Range(0.0, 1.0)
)
MOVED = Implementation("int8", activation=U8_AFFINE, output=U8_AFFINE, shares_scale=True)
SHARED = Implementation("int8-shared", activation=U8_AFFINE, output=U8_AFFINE, shares_scale=True)


def _weight_is_constant(region: Region) -> str | None:
    if region.weight is None:
        return "its weight is computed at run time"
    if constant(region.weight.value) is None and not is_stored(region.weight.value):
        return "its weight is not a constant"
    return None


def _matrix_weight(region: Region) -> str | None:
    """QLinearMatMul takes per-channel scales for a 2-D weight only."""
    if region.weight is not None and rank(region.weight.value) != 2:
        return "a MatMul weight of rank other than 2 has no per-channel form"
    return None


def _plain_gemm(region: Region) -> str | None:
    """QGemm folds alpha into the scales but not beta, and needs the bias as a vector."""
    node = region.anchor
    if node.attributes.get_float("beta", 1.0) != 1.0 and region.bias is not None:
        return "Gemm with beta other than 1"
    if node.attributes.get_float("alpha", 1.0) != 1.0:
        return "Gemm with alpha other than 1"
    if len(node.inputs) > 2 and node.inputs[2] is not None and region.bias is None:
        return "the bias is computed at run time"
    if region.bias is not None and rank(region.bias.value) != 1:
        return "the bias is no vector"
    return None


def _two_activations(region: Region) -> str | None:
    if len(region.activations) < 2 and region.kind in ("Add", "Mul"):
        return "one operand is a constant, which would be quantized with the data"
    return None


def _has_constant_shape_inputs(region: Region) -> str | None:
    """A mover's data must come first; its other operands are indices and may be anything."""
    if any(operand.index != 0 for operand in region.activations) and region.kind != "Concat":
        return "data is not the first operand"
    return None


def _rank_4(region: Region) -> str | None:
    if rank(region.activations[0].value) not in (None, 3, 4, 5):
        return "pooling kernels take images"
    return None


def _counts_its_cells(region: Region) -> str | None:
    """QLinearAveragePool divides by the whole window where ceil_mode reads beyond the padding."""
    attributes = region.anchor.attributes
    if attributes.get_int("ceil_mode", 0) and attributes.get_int("count_include_pad", 0):
        return "the kernel counts cells beyond the padding with ceil_mode and count_include_pad"
    return None


def _plain_lstm(region: Region) -> str | None:
    """DynamicQuantizeLSTM has no layout attribute and wants both weights constant."""
    node = region.anchor
    if node.attributes.get_int("layout", 0) != 0:
        return "LSTM with batch-first layout has no quantized kernel"
    if constant(node.inputs[1]) is None or constant(node.inputs[2]) is None:
        return "its weights are computed at run time"
    return None


def _plain_gru(region: Region) -> str | None:
    """What `insert-dynamic-gru` takes apart: the form that torch and Keras export."""
    node = region.anchor
    stored = [value for value in (*node.inputs[1:3], *node.inputs[3:4]) if value is not None]
    if any(constant(value) is None for value in stored):
        return "its weights are computed at run time"
    if node.attributes.get_int("linear_before_reset", 0) != 1:
        return "GRU that resets before the recurrent product needs two products a step"
    other = {"activations", "clip"} & set(node.attributes)
    if other or node.attributes.get_int("layout", 0) != 0:
        return "GRU with other activations, clip or batch-first layout"
    if len(node.inputs) > 4 and node.inputs[4] is not None:
        return "GRU with sequence lengths"
    return None


_FLOAT32 = Constraint("ORT01", float32_data, "QLinear* type constraints, contrib operator schemas")
_CONSTANT = Constraint("ORT02", _weight_is_constant, "QDQ selectors need constant weights")
_MATRIX = Constraint("ORT03", _matrix_weight, "QLinearMatMul schema, b_scale")
_GEMM = Constraint("ORT04", _plain_gemm, "QGemm schema")
_PAIR = Constraint("ORT05", _two_activations, "accuracy; constants are per-tensor u8 there")
_FIRST = Constraint("ORT06", _has_constant_shape_inputs)
_LSTM = Constraint("ORT08", _plain_lstm, "DynamicQuantizeLSTM, contrib operator schema")
_COUNTED = Constraint("ORT09", _counts_its_cells, "found by verify; ORT 1.31.1, up to 59 LSB")
_GRU = Constraint("ORT10", _plain_gru, "the pass insert-dynamic-gru")
_IMAGES = Constraint("ORT07", _rank_4, "QLinearAveragePool, QLinearGlobalAveragePool")

_WEIGHTED = (
    OpCapability(RegionPattern("Conv", (_ACTIVATION,)), (INTEGER,), (_FLOAT32, _CONSTANT)),
    OpCapability(
        RegionPattern("Gemm", (_ACTIVATION,)),
        (INTEGER, FLOAT_OUT_BIASED, DYNAMIC, *block_forms()),
        (_FLOAT32, _CONSTANT, _GEMM),
    ),
    OpCapability(
        RegionPattern("MatMul"),
        (INTEGER_PRODUCT, FLOAT_OUT, DYNAMIC, *block_forms()),
        (_FLOAT32, _MATRIX),
    ),
    OpCapability(RegionPattern("LSTM"), (DYNAMIC,), (_FLOAT32, _LSTM)),
    OpCapability(RegionPattern("GRU"), (DYNAMIC,), (_FLOAT32, _GRU)),
)
_ARITHMETIC = (
    *(
        OpCapability(RegionPattern(op, (_ACTIVATION,)), (ELEMENTWISE,), (_FLOAT32, _PAIR))
        for op in ("Add", "Mul")
    ),
    OpCapability(RegionPattern("Sigmoid"), (UNIT_OUTPUT,), (_FLOAT32,)),
    OpCapability(RegionPattern("LeakyRelu"), (ELEMENTWISE,), (_FLOAT32,)),
    OpCapability(RegionPattern("Softmax"), (UNIT_OUTPUT,), (_FLOAT32,)),
    OpCapability(RegionPattern("AveragePool"), (ELEMENTWISE,), (_FLOAT32, _IMAGES, _COUNTED)),
    OpCapability(RegionPattern("GlobalAveragePool"), (ELEMENTWISE,), (_FLOAT32, _IMAGES)),
    OpCapability(RegionPattern("Concat"), (ELEMENTWISE, SHARED), (_FLOAT32,)),
)
_MOVERS = tuple(
    OpCapability(RegionPattern(op), (MOVED,), (_FLOAT32, _FIRST))
    for op, row in TRAITS.items()
    if (row.moves_data or op == "MaxPool") and op not in ("Concat", "Identity", "Split", "Pad")
)

TABLE = CapabilityTable(_WEIGHTED + _ARITHMETIC + _MOVERS)
