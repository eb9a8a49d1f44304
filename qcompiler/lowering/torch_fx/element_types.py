"""ONNX element types in torch: which there are, and arrays to tensors and back.

numpy knows bfloat16, float8 and 4-bit integers through ml_dtypes only, which torch does not take:
their bits are handed over. torch has no 4-bit and 2-bit integers that compute; they are held in 8
bits.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from qcompiler.errors import LoweringError

_DTYPES: dict[ir.DataType, torch.dtype] = {
    ir.DataType.FLOAT: torch.float32,
    ir.DataType.DOUBLE: torch.float64,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.BFLOAT16: torch.bfloat16,
    ir.DataType.FLOAT8E4M3FN: torch.float8_e4m3fn,
    ir.DataType.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    ir.DataType.FLOAT8E5M2: torch.float8_e5m2,
    ir.DataType.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
    ir.DataType.UINT8: torch.uint8,
    ir.DataType.INT8: torch.int8,
    ir.DataType.UINT16: torch.uint16,
    ir.DataType.INT16: torch.int16,
    ir.DataType.UINT32: torch.uint32,
    ir.DataType.INT32: torch.int32,
    ir.DataType.UINT64: torch.uint64,
    ir.DataType.INT64: torch.int64,
    ir.DataType.BOOL: torch.bool,
    ir.DataType.COMPLEX64: torch.complex64,
    ir.DataType.COMPLEX128: torch.complex128,
    ir.DataType.UINT4: torch.uint8,
    ir.DataType.INT4: torch.int8,
    ir.DataType.UINT2: torch.uint8,
    ir.DataType.INT2: torch.int8,
}
NARROW = {
    ir.DataType.UINT4: (4, False),
    ir.DataType.INT4: (4, True),
    ir.DataType.UINT2: (2, False),
    ir.DataType.INT2: (2, True),
}
"""Bits and signedness of the integers that are held in 8 bits."""
FLOAT8 = (
    torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz
)  # fmt: skip
_BITS: dict[Any, torch.dtype] = {
    np.dtype(ml_dtypes.bfloat16): torch.bfloat16,
    np.dtype(ml_dtypes.float8_e4m3fn): torch.float8_e4m3fn,
    np.dtype(ml_dtypes.float8_e4m3fnuz): torch.float8_e4m3fnuz,
    np.dtype(ml_dtypes.float8_e5m2): torch.float8_e5m2,
    np.dtype(ml_dtypes.float8_e5m2fnuz): torch.float8_e5m2fnuz,
}
_INTEGERS = {np.dtype(getattr(ml_dtypes, name)) for name in ("uint4", "int4", "uint2", "int2")}


def is_known(dtype: ir.DataType) -> bool:
    """Whether torch can hold elements of the type."""
    return dtype in _DTYPES


def torch_dtype(code: int) -> torch.dtype:
    """The torch type of an ONNX element type number.

    Raises:
        LoweringError: torch has no such type (strings, 4-bit floats).
    """
    dtype = ir.DataType(code)
    if dtype not in _DTYPES:
        raise LoweringError(
            f"torch has no elements of type {dtype.name}",
            fix="choose the target onnxruntime, or take the type out of the model",
        )
    return _DTYPES[dtype]


def tensor_of(array: npt.NDArray[Any]) -> torch.Tensor:
    """The array as a tensor; memory is shared where numpy's type is torch's, too.

    Raises:
        LoweringError: torch has no such element type.
    """
    if array.dtype in _BITS:
        bits = array.view(np.uint8 if array.dtype.itemsize == 1 else np.int16)
        return torch.from_numpy(bits).view(_BITS[array.dtype])
    if array.dtype in _INTEGERS:
        return torch.from_numpy(array.astype(np.int8 if array.dtype.name[0] == "i" else np.uint8))
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise LoweringError(
            f"torch has no elements of type {array.dtype}",
            fix="choose the target onnxruntime, or take the type out of the model",
        ) from error


def array_from(tensor: torch.Tensor, dtype: ir.DataType | None = None) -> npt.NDArray[Any]:
    """The tensor as an array of the ONNX type, which tells 4-bit integers from 8-bit ones."""
    for kind, held in _BITS.items():
        if tensor.dtype == held:
            bits = torch.int16 if kind.itemsize == 2 else torch.uint8
            viewed: npt.NDArray[Any] = tensor.contiguous().view(bits).numpy().view(kind)
            return viewed
    found: npt.NDArray[Any] = tensor.numpy()
    return found.astype(dtype.numpy()) if dtype in NARROW else found
