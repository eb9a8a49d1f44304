"""Tensors of types that numpy lacks, in and out of ONNX Runtime.

`InferenceSession.run` takes and gives numpy's own types only: it refuses bfloat16, float8 and 4-bit
integers, and hands float8 out as uint8. As `OrtValue`s over the same bytes they pass.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort

from qcompiler.ir.signature import Feed, Signature

Array = npt.NDArray[Any]
_FOREIGN = frozenset(
    {
        ir.DataType.BFLOAT16,
        ir.DataType.FLOAT8E4M3FN,
        ir.DataType.FLOAT8E4M3FNUZ,
        ir.DataType.FLOAT8E5M2,
        ir.DataType.FLOAT8E5M2FNUZ,
        ir.DataType.INT4,
        ir.DataType.UINT4,
    }
)
"""Types of ONNX Runtime's CPU kernels that numpy has from ml_dtypes only."""


def has_foreign_types(signature: Signature) -> bool:
    """Whether tensors of a type that numpy lacks go in or out, and nothing but tensors."""
    specs = (*signature.inputs, *signature.outputs)
    return any(s.dtype in _FOREIGN for s in specs) and not any(s.container for s in specs)


def run_with_values(
    session: ort.InferenceSession, signature: Signature, feed: Feed, names: Sequence[str] | None
) -> list[Any]:
    """As `session.run`, with arrays of ml_dtypes at the boundary.

    Args:
        session: Of a model without sequences and optionals among its inputs.
        signature: Of the model.
        feed: Arrays in the signature's dtypes.
        names: Outputs to compute, None for all.
    """
    held = {spec.name: _bytes(feed[spec.name], spec.dtype) for spec in signature.inputs}
    values = {spec.name: _value(held[spec.name], spec.dtype) for spec in signature.inputs}
    kinds = {spec.name: spec.dtype for spec in signature.outputs}
    wanted = list(signature.output_names if names is None else names)
    found = session.run_with_ort_values(wanted, values)
    return [_array(value, kinds[name]) for name, value in zip(wanted, found, strict=True)]


def _bytes(array: Array, dtype: ir.DataType | None) -> Array:
    """The array as ONNX Runtime reads it: 4-bit numbers packed, in a buffer of the same shape."""
    if dtype not in (ir.DataType.INT4, ir.DataType.UINT4):
        return np.require(array, requirements="C")
    packed = np.frombuffer(ir.Tensor(np.ascontiguousarray(array)).tobytes(), np.uint8)
    room = np.zeros(array.size, np.uint8)
    room[: packed.size] = packed
    return room.reshape(array.shape)


def _value(array: Array, dtype: ir.DataType | None) -> ort.OrtValue:
    """A value on top of the array, which has to outlive it."""
    if dtype is None or dtype not in _FOREIGN:
        return ort.OrtValue.ortvalue_from_numpy(array)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, int(dtype))


def _array(value: ort.OrtValue, dtype: ir.DataType | None) -> Array:
    """A copy in the type of the output."""
    if dtype is None or dtype not in _FOREIGN:
        return np.asarray(value.numpy())
    shape = tuple(value.shape())
    size = -(-math.prod(shape) * dtype.bitwidth // 8)
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    proto = onnx.TensorProto(dims=shape, data_type=int(dtype), raw_data=raw)
    return np.asarray(onnx.numpy_helper.to_array(proto))
