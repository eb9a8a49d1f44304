"""What ONNX Runtime's CPU provider runs in integers, and in which form.

Source of every row: the operators counted in the graph that ONNX Runtime 1.31.1 writes to
`optimized_model_filepath` for that pattern (docs/onnxruntime.md), AVX512-VNNI. An op without a row
runs in float there, whatever stands around it.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from qcompiler.backends.onnxruntime.constraints import (
    CONSTANT,
    COPIED,
    COUNTED,
    FIRST,
    FLOAT32,
    GEMM,
    GRU,
    IMAGES,
    LONG_AXIS,
    LOOKED_UP,
    LSTM,
    MATRIX,
    ONE_OUTPUT,
    ROWS,
    STORED,
    UNDILATED,
    mean_ratios,
)
from qcompiler.decisions.schemes import LEVEL_SPACES
from qcompiler.decisions.weight_forms import StoredWeights, block_forms
from qcompiler.ir.bounds import activation_bounds
from qcompiler.ir.optraits import TRAITS
from qcompiler.ir.regions import Epilogue, RegionPattern, Stage
from qcompiler.quantization.qspace import (
    F8_E4M3,
    F8_E5M2,
    S8_SYMMETRIC_PER_CHANNEL,
    U8_AFFINE,
    U16_AFFINE,
    Granularity,
    Levels,
    QSpace,
    Range,
)
from qcompiler.target.capability import (
    BiasForm,
    CapabilityTable,
    Implementation,
    Kernel,
    OpCapability,
    with_tensor_weights,
)

_WEIGHT = S8_SYMMETRIC_PER_CHANNEL


_BLOCK = 32
"""ONNX Runtime's own default, and what a name without a size stands for."""
_WEIGHT_TYPES = {
    "int8-weights": StoredWeights(ir.DataType.INT8, 8),
    "int4-weights": StoredWeights(ir.DataType.INT4, 4),
    "int3-weights": StoredWeights(ir.DataType.INT4, 3),
    "int2-weights": StoredWeights(ir.DataType.UINT2, 2, (32, 64, 128)),
    "int8-weights-affine": StoredWeights(ir.DataType.UINT8, 8),
    "int4-weights-affine": StoredWeights(ir.DataType.UINT4, 4),
    "int3-weights-affine": StoredWeights(ir.DataType.UINT4, 3),
}
"""With 2 bits, other sizes take 100 times as long; the kernel takes no 3 bits, so these are stored
in 4. Two bits have a zero point per block: four levels around a fixed 0 would leave one side with a
single one."""
_SEARCHED = ("int8-weights-b128", "int4-weights", "int4-weights-b128")
"""What the search tries. Blocks of 128 are up to 1.4 times as fast as blocks of 32; at 8 bits they
lose next to nothing, at 4 bits the smaller ones are the more accurate choice."""
_BLOCKS = tuple(block_forms(_WEIGHT_TYPES, _BLOCK, _SEARCHED))
"""ONNX Runtime makes MatMulNBits of DequantizeLinear + MatMul or Gemm for blocks of 16 to 256,
whatever the length of the axis (docs/onnxruntime.md)."""


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
AVERAGED = replace(ELEMENTWISE, ratios=mean_ratios)
UNIT_OUTPUT = Implementation(
    "int8", activation=U8_AFFINE, output=U8_AFFINE, output_range=Range(0.0, 1.0)
)
MOVED = Implementation("int8", activation=U8_AFFINE, output=U8_AFFINE, shares_scale=True)
POOLED = replace(MOVED, follows=True)
"""MaxPool between channels-last kernels. Behind float it reads NCHW, where the kernel on integers
takes twenty times as long as the one on floats (docs/onnxruntime.md)."""
LOOKED = Implementation("int8-weights", Kernel.WEIGHT_ONLY, weight=_WEIGHT)
"""A table of int8 rows with one scale each; what is looked up comes out in float."""
SHARED = Implementation("int8-shared", activation=U8_AFFINE, output=U8_AFFINE, shares_scale=True)


_WEIGHTED = (
    OpCapability(RegionPattern("Conv", (_ACTIVATION,)), (INTEGER,), (FLOAT32, CONSTANT)),
    OpCapability(
        RegionPattern("Gemm", (_ACTIVATION,)),
        (INTEGER, FLOAT_OUT_BIASED, DYNAMIC, *_BLOCKS),
        (FLOAT32, CONSTANT, GEMM),
    ),
    OpCapability(
        RegionPattern("MatMul"),
        (INTEGER_PRODUCT, FLOAT_OUT, DYNAMIC, *_BLOCKS),
        (FLOAT32, MATRIX),
    ),
    OpCapability(RegionPattern("LSTM"), (DYNAMIC,), (FLOAT32, LSTM)),
    OpCapability(RegionPattern("GRU"), (DYNAMIC,), (FLOAT32, GRU)),
)
_ARITHMETIC = (
    *(
        OpCapability(RegionPattern(op, (_ACTIVATION,)), (ELEMENTWISE,), (FLOAT32, STORED, ROWS))
        for op in ("Add", "Mul")
    ),
    OpCapability(RegionPattern("Sigmoid"), (UNIT_OUTPUT,), (FLOAT32,)),
    OpCapability(RegionPattern("LeakyRelu"), (ELEMENTWISE,), (FLOAT32,)),
    OpCapability(RegionPattern("Softmax"), (UNIT_OUTPUT,), (FLOAT32, LONG_AXIS)),
    OpCapability(RegionPattern("AveragePool"), (AVERAGED,), (FLOAT32, IMAGES, COUNTED, UNDILATED)),
    OpCapability(RegionPattern("GlobalAveragePool"), (AVERAGED,), (FLOAT32, IMAGES)),
    OpCapability(RegionPattern("Where"), (ELEMENTWISE,), (FLOAT32, STORED)),
    OpCapability(RegionPattern("Concat"), (ELEMENTWISE, SHARED), (FLOAT32,)),
)
_MOVERS = tuple(
    OpCapability(
        RegionPattern(op),
        (POOLED if op == "MaxPool" else MOVED,),
        (FLOAT32, FIRST, ONE_OUTPUT),
    )
    for op, row in TRAITS.items()
    if (row.moves_data or op == "MaxPool")
    and op not in ("Concat", "Gather", "Identity", "Split", "Pad")
)
_IN_BLOCKS = tuple(
    replace(form, searched=False)
    for form in _BLOCKS
    if form.weight is not None and form.weight.used_bits < 8
)
"""Tables of fewer bits, in blocks along their rows: smaller, and slower to look up."""
_LOOK_UPS = OpCapability(
    RegionPattern("Gather", tables=True),
    (MOVED, LOOKED, *_IN_BLOCKS),
    (FLOAT32, FIRST, ONE_OUTPUT, LOOKED_UP),
)

_RESIZE = OpCapability(RegionPattern("Resize"), (MOVED,), (FLOAT32, FIRST, COPIED))

_FLOAT8 = tuple(
    Implementation(
        name,
        Kernel.WEIGHT_ONLY,
        weight=space.with_granularity(Granularity.CHANNEL),
        searched=False,
        size_only=True,
    )
    for name, space in (("fp8-weights", F8_E4M3), ("fp8-e5m2-weights", F8_E5M2))
)
"""Weights that are only stored in float8: DequantizeLinear makes float of them in every run."""


_LEVELS = tuple(
    Implementation(name, Kernel.WEIGHT_ONLY, weight=space, searched=False, size_only=True)
    for name, space in LEVEL_SPACES.items()
)
"""Weights as packed indices into a table of levels: floats are looked up when the file is loaded,
as ONNX Runtime folds what follows from constants."""


def _simulated(form: Implementation) -> Implementation:
    """The same between 16-bit activations, for which ONNX Runtime's CPU provider has no kernels.

    Rounded is what a device of 16x8 bits rounds; sums and biases are those of float.
    """
    return replace(
        form,
        precision="int16",
        activation=U16_AFFINE,
        output=U16_AFFINE,
        bias=BiasForm.FLOAT,
        ratios=None,
        searched=False,
        simulated=True,
    )


_FEW_BITS = {
    "int4": QSpace(ir.DataType.INT4, True, Granularity.CHANNEL),
    "int3": QSpace(ir.DataType.INT4, True, Granularity.CHANNEL, bits=3),
    "int2": QSpace(ir.DataType.INT4, True, Granularity.CHANNEL, bits=2),
    "ternary": QSpace(ir.DataType.INT4, True, Granularity.CHANNEL, bits=2, narrow=True),
}
"""Weights by form. They are stored in 4 bits: this opset has no smaller type."""


def _with_few_bits(form: Implementation, precision: str) -> Implementation:
    """The same with weights of few bits per channel, for devices that multiply them by 8 bits.

    ONNX Runtime's integer kernels take 8-bit weights only; int4 behind DequantizeLinear runs in
    float there.
    """
    weight = _FEW_BITS[precision]
    return replace(form, precision=precision, weight=weight, searched=False, simulated=True)


def _has_many_codebooks(space: QSpace | None) -> bool:
    return (
        space is not None
        and space.levels is Levels.CODEBOOK
        and space.granularity is not Granularity.TENSOR
    )


def _extended(row: OpCapability) -> OpCapability:
    """The row with the forms that save memory, or tell what other devices compute, but no time."""
    forms = list(row.implementations)
    integer = [form for form in forms if form.precision == "int8"]
    forms += map(_simulated, integer)
    weighted = [form for form in integer if form.weight is not None]
    forms += [_with_few_bits(form, name) for name in _FEW_BITS for form in weighted]
    if row.pattern.anchor in ("Conv", "Gemm", "MatMul"):
        forms += [*_FLOAT8, *_LEVELS]
    if row.pattern.tables:  # a codebook for every row would be larger than the row
        forms += [form for form in _LEVELS if not _has_many_codebooks(form.weight)]
    return replace(row, implementations=tuple(forms))


_ROWS = (*_WEIGHTED, *_ARITHMETIC, *_MOVERS, _RESIZE, _LOOK_UPS)
TABLE = CapabilityTable(tuple(with_tensor_weights(_extended(row)) for row in _ROWS))
