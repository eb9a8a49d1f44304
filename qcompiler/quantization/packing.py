"""Narrow integers in bytes, the first element in the lowest bits, as ONNX stores them."""

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


def pack_bits(array: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint8]:
    """Integers of 1 to 16 bits as a stream of bits, 1-D, the first in the lowest bits.

    Negative ones are in two's complement. For 2 and 4 bits that is what `pack` gives, for 8 and 16
    the integers' own bytes in little endian; the last byte is padded with zeros.

    Args:
        array: Signed or unsigned integers within `bits` bits.
        bits: Of one element.
    """
    whole = np.ascontiguousarray(array).reshape(-1).astype(np.int64)
    if whole.size and not -(2 ** (bits - 1)) <= whole.min() <= whole.max() < 2**bits:
        raise ConfigurationError(f"values outside {bits} bits cannot be packed")
    return np.concatenate(
        [np.zeros(0, np.uint8)]
        + [_stream(whole[at : at + _CHUNK], bits) for at in range(0, whole.size, _CHUNK)]
    )


def unpack_bits(
    data: npt.NDArray[np.uint8], shape: Sequence[int], bits: int, *, signed: bool = False
) -> npt.NDArray[np.int64]:
    """What `pack_bits` packed.

    Raises:
        ConfigurationError: A number of bytes that does not fit the shape.
    """
    count = int(np.prod(shape))
    if data.size != -(-count * bits // 8):
        raise ConfigurationError(f"{data.size} bytes do not hold {tuple(shape)} of {bits} bits")
    step = _CHUNK * bits // 8
    parts = [_elements(data[at : at + step], bits) for at in range(0, data.size, step)]
    whole = np.concatenate([np.zeros(0, np.int64), *parts])[:count]
    if signed:
        whole = np.where(whole >= 2 ** (bits - 1), whole - 2**bits, whole)
    return whole.reshape(tuple(shape))


_CHUNK = 2**18
"""Elements at a time, a multiple of 8: one bit takes a byte on the way."""


def _stream(whole: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.uint8]:
    octets = (whole & (2**bits - 1)).astype("<u2").view(np.uint8).reshape(-1, 2)
    flags = np.unpackbits(octets, axis=1, bitorder="little")[:, :bits]
    return np.packbits(flags, bitorder="little")


def _elements(data: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.int64]:
    count = data.size * 8 // bits
    flags = np.unpackbits(data, bitorder="little")[: count * bits].reshape(count, bits)
    return np.asarray(flags @ (1 << np.arange(bits, dtype=np.int64)), np.int64)
