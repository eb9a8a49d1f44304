"""2- and 4-bit integers in bytes, first element in the lowest bits, as ONNX stores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from qcompiler.errors import ConfigurationError

_PACKED = (ir.DataType.INT2, ir.DataType.UINT2, ir.DataType.INT4, ir.DataType.UINT4)


def pack(array: npt.NDArray[Any], dtype: ir.DataType) -> npt.NDArray[np.uint8]:
    """Integers of any integer type to packed bytes, 1-D; the last byte is padded with zeros.

    Args:
        array: Values within the range of `dtype`.
        dtype: INT2, UINT2, INT4 or UINT4.

    Raises:
        ConfigurationError: Another type, or values outside it.
    """
    _check(dtype)
    narrow = np.ascontiguousarray(array).astype(dtype.numpy())
    if not np.array_equal(narrow.astype(np.int64), array.astype(np.int64)):
        raise ConfigurationError(f"values outside {dtype.name} cannot be packed")
    return np.frombuffer(ir.Tensor(narrow).tobytes(), np.uint8)


def unpack(
    data: npt.NDArray[np.uint8], shape: Sequence[int], dtype: ir.DataType
) -> npt.NDArray[Any]:
    """Packed bytes to an ml_dtypes array of `shape`.

    Raises:
        ConfigurationError: Another type, or a number of bytes that does not fit the shape.
    """
    _check(dtype)
    per_byte = 8 // dtype.bitwidth
    if data.size != -(-int(np.prod(shape)) // per_byte):
        raise ConfigurationError(f"{data.size} bytes do not hold {tuple(shape)} {dtype.name}")
    proto = onnx.TensorProto(dims=list(shape), data_type=int(dtype), raw_data=data.tobytes())
    return np.asarray(onnx.numpy_helper.to_array(proto))


def _check(dtype: ir.DataType) -> None:
    if dtype not in _PACKED:
        raise ConfigurationError(f"{dtype.name} is not a packed type")
