"""Conditions of ONNX Runtime's integer kernels that no type says.

Every rule was found by the sweep over attributes, ranks and empty shapes in tests/differential, or
stands in the kernel's source; the reference names it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from qcompiler.ir.optraits import traits
from qcompiler.ir.regions import Region, stored_data
from qcompiler.ir.walk import constant, is_op, is_stored, rank, stored_array
from qcompiler.target.capability import Constraint
from qcompiler.target.constraints import data_first, float32_data, rows_of_a_matrix


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


def _stored_operands_are_data(region: Region) -> str | None:
    """A constant operand is quantized per tensor with its own range, so it has to have one."""
    for operand in stored_data(region.anchor):
        array = stored_array(operand.value)
        if array is None or is_op(operand.value.producer(), "DequantizeLinear"):
            return "its constant operand is stored in integers already"
        if not np.all(np.isfinite(array)):
            return "its constant operand holds infinity or NaN"
    return None


def _copied(region: Region) -> str | None:
    """There is no kernel on integers that interpolates."""
    return None if traits(region.anchor).moves_data else "only nearest copies elements"


def _images(region: Region) -> str | None:
    if rank(region.activations[0].value) not in (None, 3, 4, 5):
        return "pooling kernels take images"
    return None


def _undilated(region: Region) -> str | None:
    """QLinearAveragePool knows no dilations, and refuses the attribute even where all are 1."""
    if "dilations" in region.anchor.attributes:
        return "the kernel takes no dilations"
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


def _one_output(region: Region) -> str | None:
    """The kernel on integers has no second output, such as MaxPool's indices."""
    if sum(bool(output.name) for output in region.anchor.outputs) > 1:
        return "only its first output has a kernel on integers"
    return None


def _long_static_axis(region: Region) -> str | None:
    """QLinearSoftmax over one element overflows to 0; it leaves its output unset without rows."""
    dims = dims_of(region.activations[0].value)
    if dims is None or not dims:
        return "its shape is not known"
    axis = region.anchor.attributes.get_int("axis", -1)
    length = dims[axis] if -len(dims) <= axis < len(dims) else None
    if length == 1:
        return "the kernel overflows over a single element"
    if None in dims:
        return "an axis is free, and the kernel fails where it has no elements"
    return None


def _rows_behind(region: Region) -> str | None:
    """QLinearAdd and QLinearMul end the process on some results without rows.

    Found with ONNX Runtime 1.31.1: [0] + [0], [0, 5] + [0, 1], [0, 1] + [0, 1]. Safe are operands
    that share an axis of more than one element behind the first, and one that is a single number.
    """
    operands = [value for value in region.anchor.inputs if value is not None]
    shapes = [dims for value in operands if (dims := dims_of(value)) is not None]
    longest = max(map(len, shapes), default=0)
    if len(shapes) != 2 or not longest:
        return None
    ones: list[int | None] = [1] * longest
    first, second = ([*ones[len(dims) :], *dims] for dims in shapes)
    if first[0] is not None and second[0] is not None:
        return None
    inner = list(zip(first[1:], second[1:], strict=True))
    if any(a == b and a != 1 for a, b in inner):
        return None
    if any(one != 1 for pair in inner for one in pair) and 1 in (_size(first), _size(second)):
        return None
    return "the kernel ends the process where the first axis has no elements"


_MEAN_RATIO = 256.0 * (1 - 2.0**-20)
"""CheckQLinearGlobalAveragePoolScaleAndSize in mlas/lib/qlgavgpool.cpp, and room for rounding."""


def mean_ratios(region: Region) -> tuple[float, float]:
    """Ratios of QLinearGlobalAveragePool: data scale / (output scale * pixels) < 256.

    Nothing is lost: that step is 1/256 of the mean's own steps. Free extents count as 1.
    QLinearAveragePool is that kernel where its window covers the data.
    """
    window: Sequence[int | None] = region.anchor.attributes.get_ints("kernel_shape", ())
    if not window:
        window = (dims_of(region.activations[0].value) or [])[2:]
    return 0.0, _MEAN_RATIO * math.prod(each or 1 for each in window)


def _size(dims: list[int | None]) -> int | None:
    """Number of elements, None where an axis is free."""
    return math.prod(each or 1 for each in dims) if None not in dims else None


def dims_of(value: ir.Value) -> list[int | None] | None:
    """Extents, None for free ones; None as a whole where the rank is not known."""
    if value.shape is None:
        return None
    return [each if isinstance(each, int) else None for each in value.shape]


FLOAT32 = Constraint("ORT01", float32_data, "QLinear* type constraints, contrib operator schemas")
CONSTANT = Constraint("ORT02", _weight_is_constant, "QDQ selectors need constant weights")
MATRIX = Constraint("ORT03", _matrix_weight, "QLinearMatMul schema, b_scale")
GEMM = Constraint("ORT04", _plain_gemm, "QGemm schema")
STORED = Constraint("ORT05", _stored_operands_are_data, "constants are per-tensor u8 there")
FIRST = Constraint("ORT06", data_first)
LSTM = Constraint("ORT08", _plain_lstm, "DynamicQuantizeLSTM, contrib operator schema")
COUNTED = Constraint("ORT09", _counts_its_cells, "found by verify; ORT 1.31.1, up to 59 LSB")
GRU = Constraint("ORT10", _plain_gru, "the pass insert-dynamic-gru")
IMAGES = Constraint("ORT07", _images, "QLinearAveragePool, QLinearGlobalAveragePool")
UNDILATED = Constraint("ORT11", _undilated, "QLinearAveragePool, contrib operator schema")
ONE_OUTPUT = Constraint("ORT12", _one_output, "CheckQDQNodes in qdq_selectors.cc")
LONG_AXIS = Constraint("ORT13", _long_static_axis, "qlinear_softmax.cc; ORT 1.31.1")
ROWS = Constraint("ORT14", _rows_behind, "found by tests/differential; ORT 1.31.1")
COPIED = Constraint("ORT16", _copied, "resize.cc: integers are interpolated without their scale")
LOOKED_UP = Constraint("ORT15", rows_of_a_matrix, "the pass insert-integer-lookups")
