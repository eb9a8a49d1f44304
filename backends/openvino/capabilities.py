"""What OpenVINO's CPU plugin runs in integers.

Source: runtime precisions that OpenVINO 2026.4 reports for such graphs (docs/openvino.md): u8 or s8
activations with s8 weights run as integer Convolution, FullyConnected and MatMul; u8 weights do
not. The placement is the one its low-precision transformations look for: Q/DQ at the operands,
none at the outputs of weighted ops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

import onnx_ir as ir

from qcompiler.decisions.roundings import reduction_axis
from qcompiler.decisions.weight_forms import StoredWeights, block_forms
from qcompiler.execution.openvino.faults import (
    counts_padding,
    is_dynamic,
    is_fused_product,
    is_negated,
    is_pooled,
    read_apart,
)
from qcompiler.execution.openvino.joined import is_joined_across
from qcompiler.ir.clamping import is_nonnegative
from qcompiler.ir.regions import Epilogue, Region, RegionPattern, Stage
from qcompiler.ir.walk import rank
from qcompiler.quantization.qspace import (
    S8_SYMMETRIC_PER_CHANNEL,
    U8_AFFINE,
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
from qcompiler.target.constraints import rows_of_a_matrix, two_activations
from qcompiler.target.explicit_qdq import FLOAT32, deconvolution, eight_bit

ACTIVATION = Epilogue(Stage.ACTIVATION, frozenset({"Relu"}))


PAIR = Constraint("OV01", two_activations, "constants are folded into scales and offsets")


def _no_vector(region: Region) -> str | None:
    """OV-F3 of `faults`: the product of an integer vector comes back as a matrix."""
    if any(rank(operand.value) == 1 for operand in region.activations):
        return "the result of an integer vector would be a matrix of one row"
    return None


def _one_reading(region: Region) -> str | None:
    """OV-F2 of `faults`, where no dequantized copy of the result could serve all readers."""
    graph = region.anchor.graph
    if isinstance(graph, ir.Graph) and is_dynamic(graph) and read_apart(region.output):
        return "in a model of open sizes its result is read in float and behind another op"
    return None


def _no_counted_padding(region: Region) -> str | None:
    """OV-F4 of `faults`."""
    counts = counts_padding(region.anchor)
    return "its padding counts, and would be the integer 0" if counts else None


def _alone(region: Region) -> str | None:
    """OV-F5 of `faults`."""
    fused = is_fused_product(region.anchor)
    return "OpenVINO fuses it with its neighbour, and reads wrong memory" if fused else None


def _not_negated(region: Region) -> str | None:
    """OV-F7 of `faults`."""
    negated = is_negated(region.output, region.kind in ("Conv", "ConvTranspose"))
    return (
        "it is negated behind its activation, and OpenVINO mixes up its scales" if negated else None
    )


def _unpooled(region: Region) -> str | None:
    """OV-F9 of `faults`."""
    pooled = is_pooled(region.output)
    return "OpenVINO moves its scales behind the window that reads it" if pooled else None


def _plain_deconvolution(region: Region) -> str | None:
    """What oneDNN's integer deconvolution takes; anything else OpenVINO runs in float."""
    if region.anchor.attributes.get_int("group", 1) != 1:
        return "it has groups"
    if not all(is_nonnegative(operand.value) for operand in region.activations):
        return "its data may be negative, and takes a zero point"
    return None


def _not_across(region: Region) -> str | None:
    """OV-F8 of `joined`."""
    across = is_joined_across(region.anchor)
    return "its data was joined along an axis that it does not sum over" if across else None


def _known_channels(region: Region) -> str | None:
    """A Tile or Pad whose amounts are computed leaves the number of channels open."""
    data = region.anchor.inputs[0]
    shape = data.shape if data is not None else None
    if shape is None or len(shape) < 2 or not isinstance(shape[1], int):
        return "its number of channels is open, and OpenVINO runs it in float"
    return None


READINGS = Constraint("OV03", _one_reading, "OV-F2, measured with OpenVINO 2026.4.1")
DECONVOLUTION = Constraint("OV06", _plain_deconvolution, "runtime precisions of OpenVINO 2026.4.1")
PADDING = Constraint("OV04", _no_counted_padding, "OV-F4, measured with OpenVINO 2026.4.1")
ALONE = Constraint("OV05", _alone, "OV-F5, measured with OpenVINO 2026.4.1")
MATRICES = Constraint("OV02", _no_vector, "OV-F3, measured with OpenVINO 2026.4.1")
NEGATED = Constraint("OV07", _not_negated, "OV-F7, measured with OpenVINO 2026.4.1")
ACROSS = Constraint("OV08", _not_across, "OV-F8, measured with OpenVINO 2026.4.1")
CHANNELS = Constraint("OV09", _known_channels, "runtime precisions of OpenVINO 2026.4.1")
UNPOOLED = Constraint("OV10", _unpooled, "OV-F9, measured with OpenVINO 2026.4.1")
LOOKED_UP = Constraint("OV11", rows_of_a_matrix, "GatherCompressed of OpenVINO 2026.4.1")
_ALIKE = eight_bit("int8", U8_AFFINE, S8_SYMMETRIC_PER_CHANNEL)

_PER_CHANNEL = {
    "int8-weights": S8_SYMMETRIC_PER_CHANNEL,
    "int8-weights-affine": QSpace(ir.DataType.UINT8, False, Granularity.CHANNEL),
}
_BYTES = {
    "int8-weights": StoredWeights(ir.DataType.INT8, 8),
    "int8-weights-affine": StoredWeights(ir.DataType.UINT8, 8),
}
_NIBBLES = {
    "int4-weights": StoredWeights(ir.DataType.INT4, 4),
    "int4-weights-affine": StoredWeights(ir.DataType.UINT4, 4),
    "int3-weights": StoredWeights(ir.DataType.INT4, 3),
    "int3-weights-affine": StoredWeights(ir.DataType.UINT4, 3),
}
_BLOCK = 32
_SEARCHED = ("int8-weights", "int4-weights")


def _stored_forms() -> Iterator[Implementation]:
    """Products that OpenVINO computes from compressed weights (FullyConnected of i8, u8, i4, u4).

    It rounds activations to int8 in groups of 32 where blocks are no smaller, and computes in
    float with blocks of 16. One scale per channel is its fastest form at 8 bits.
    """
    for name, space in _PER_CHANNEL.items():
        searched = name in _SEARCHED
        yield Implementation(name, Kernel.WEIGHT_ONLY, weight=space, searched=searched)
    yield from block_forms(_BYTES, None, ())
    yield from block_forms(_NIBBLES, _BLOCK, _SEARCHED)


_STORED = tuple(_stored_forms())
_TABLES = tuple(
    replace(form, searched=form.precision == "int8-weights")
    for form in _STORED
    if form.weight is not None and (form.precision == "int8-weights" or form.weight.used_bits < 8)
)
"""Tables of which rows are looked up: they come out in float."""


def in_whole_blocks(
    region: Region, forms: tuple[Implementation, ...], *, pairs: bool = False
) -> tuple[Implementation, ...]:
    """The forms whose blocks divide the axis that they lie on: others OpenVINO refuses to read.

    Args:
        region: What is to run.
        forms: Of its row.
        pairs: Whether weights that are stored in integers are computed with in bfloat16, two at a
            time (OV-F11 of `faults`).
    """
    shape = region.weight.value.shape if region.weight is not None else None
    if shape is None or len(shape) < 2:
        return forms
    length = shape[reduction_axis(region.anchor, len(shape))]
    if not isinstance(length, int):
        return forms
    return _dividing(forms, length, 2 if pairs and region.kind != "Gather" else 1)


@cache
def _dividing(
    forms: tuple[Implementation, ...], length: int, least: int
) -> tuple[Implementation, ...]:
    sizes = ((each, _size(each, least)) for each in forms)
    return tuple(form for form, size in sizes if length % size == 0)


def _size(form: Implementation, least: int) -> int:
    """Weights that belong together."""
    if form.weight is None or form.kernel is not Kernel.WEIGHT_ONLY:
        return 1
    return form.weight.group_size or least


_PRODUCT = (MATRICES, ALONE, NEGATED, ACROSS, UNPOOLED)


def _stored_weights_only(table: CapabilityTable) -> OpCapability:
    """MatMul without the form for two u8 activations: OpenVINO runs that in float."""
    row = table.narrowed("MatMul", *_PRODUCT)
    forms = tuple(form for form in row.implementations if form.weight is not None)
    return replace(row, implementations=(*forms, *_STORED))


def _with_forms(row: OpCapability, forms: Iterable[Implementation]) -> OpCapability:
    return replace(row, implementations=(*row.implementations, *forms))


def _looked_up(table: CapabilityTable) -> OpCapability:
    """Gather, of data that is moved and of stored tables."""
    row = _with_forms(table.narrowed("Gather", LOOKED_UP), _TABLES)
    return replace(row, pattern=RegionPattern("Gather", tables=True))


def _transposed(table: CapabilityTable) -> OpCapability:
    row = deconvolution(table)
    more = (READINGS, DECONVOLUTION, NEGATED, CHANNELS)
    return replace(row, constraints=(*row.constraints, *more))


_ELEMENTWISE = Implementation("int8", activation=U8_AFFINE)
"""Operands in u8; the result is quantized by the region that reads it, if that is integer."""

TABLE = _ALIKE.overlay(
    [
        _stored_weights_only(_ALIKE),
        _transposed(_ALIKE),
        _looked_up(_ALIKE),
        _with_forms(_ALIKE.narrowed("Gemm", ALONE, NEGATED, ACROSS, UNPOOLED), _STORED),
        _ALIKE.narrowed("Conv", READINGS, NEGATED, CHANNELS),
        _ALIKE.narrowed("AveragePool", PADDING),
        *(
            OpCapability(RegionPattern(op, (ACTIVATION,)), (_ELEMENTWISE,), (FLOAT32, PAIR))
            for op in ("Add", "Mul")
        ),
    ],
    without=("Max", "Where", "Softmax"),
)
