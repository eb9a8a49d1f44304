"""Conditions that several targets share; each gives the reason why a region fails it, or None."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.optraits import traits
from qcompiler.ir.regions import Region
from qcompiler.ir.walk import constant, is_stored, rank, stored_array
from qcompiler.quantization.parameters import SCALE_FLOOR
from qcompiler.target.capability import Constraint

_STEPS = 127
_GLANCE = 4096
"""Elements that nearly always settle whether a weight is too small."""


def float32_data(region: Region) -> str | None:
    """The integer kernels quantize from and dequantize to float32 only."""
    kinds = {operand.value.dtype for operand in region.activations} - {None, ir.DataType.FLOAT}
    if kinds:
        return f"its data is {', '.join(sorted(k.name.lower() for k in kinds if k))}, not float32"
    return None


def stored_weight(region: Region) -> str | None:
    """Weights are packed when a program is lowered."""
    return None if region.weight is not None else "its weight is computed at run time"


def two_activations(region: Region) -> str | None:
    """A stored operand, or one that follows from such, would take a scale of its own per tensor."""
    return None if len(region.computed) > 1 else "one operand is a constant"


def rows_of_a_matrix(region: Region) -> str | None:
    """Of a table that is stored in integers, whole rows are looked up."""
    if region.activations:
        return None
    if region.anchor.attributes.get_int("axis", 0) != 0 or rank(region.anchor.inputs[0]) != 2:
        return "only rows of a matrix are looked up in integers"
    return None


def weight_above_scale_floor(region: Region) -> str | None:
    """A scale is at least 2^-62, so that products of scales stay normal float32 numbers."""
    array = None if region.weight is None else constant(region.weight.value)
    if array is None or array.dtype.kind != "f" or not array.size:
        return None
    largest = float(np.max(np.abs(array.reshape(-1)[:_GLANCE])))
    if largest < SCALE_FLOOR * _STEPS:
        largest = float(np.max(np.abs(array)))
    if 0.0 < largest < SCALE_FLOOR * _STEPS:
        return f"its largest weight is {largest:.1e}, all would be rounded to 0"
    return None


def data_first(region: Region) -> str | None:
    """A mover's data must come first; its other operands are indices and may be anything."""
    if any(operand.index != 0 for operand in region.activations):
        return "data is not the first operand"
    return None


def weights_are_numbers(region: Region) -> str | None:
    """What holds NaN or infinity has no range; a checkpoint that overflowed does."""
    weighted = (node for node in region.nodes if traits(node).weight is not None)
    for value in (each for node in weighted for each in node.inputs if is_stored(each)):
        assert value is not None
        held = _held_by(value)
        if held is not None:
            return f"the weight '{value.name}' holds {held}"
    return None


_HELD: WeakKeyDictionary[ir.TensorProtocol, str | None] = WeakKeyDictionary()
"""What tensors hold besides numbers; constraints are asked often, and tensors never change."""


def _held_by(value: ir.Value) -> str | None:
    tensor = value.const_value
    if tensor is not None and tensor in _HELD:
        return _HELD[tensor]
    array = stored_array(value)
    held = None if array is None or array.dtype.kind != "f" else _no_numbers(array)
    if tensor is not None:
        _HELD[tensor] = held
    return held


def _no_numbers(array: npt.NDArray[Any]) -> str | None:
    if np.isfinite(array).all():
        return None
    return "NaN" if np.isnan(array).any() else "infinity"


def has_elements(region: Region) -> str | None:
    """Kernels divide by sizes and read first elements; a sum over nothing is left uninitialised."""
    if any(0 in _sizes(value) for value in _data(region)):
        return "a dimension of its data or weight is 0"
    return None


def _data(region: Region) -> list[ir.Value]:
    weight = [] if region.weight is None else [region.weight.value]
    return [*(each.value for each in region.activations), *weight, *region.anchor.outputs]


def _sizes(value: ir.Value) -> tuple[int | ir.SymbolicDim, ...]:
    return () if value.shape is None else tuple(value.shape)


COMMON = (
    Constraint(
        "Q01", weight_above_scale_floor, "scales of subnormal size lose their bits; IEEE 754, 3.4"
    ),
    Constraint("Q03", weights_are_numbers),
    Constraint("Q02", has_elements, "onnxruntime 1.31: MatMulInteger with K = 0"),
)
"""What holds for every target."""
