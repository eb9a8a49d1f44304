from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from qcompiler.errors import ConfigurationError
from qcompiler.quantization.packing import pack, pack_bits, unpack_bits


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("count", [0, 1, 5, 8, 300_001])
def test_a_stream_of_bits_by_one_large_integer(bits: int, signed: bool, count: int) -> None:
    """Oracle: the sum of value_i * 2**(bits * i), written in little endian."""
    low = -(2 ** (bits - 1)) if signed else 0
    values = np.random.default_rng(bits).integers(low, low + 2**bits, count)
    stream = pack_bits(values, bits)
    assert stream.size == -(-count * bits // 8)
    if count <= 8:
        whole = sum((int(v) % 2**bits) << (bits * i) for i, v in enumerate(values))
        assert stream.tobytes() == whole.to_bytes(stream.size, "little")
    np.testing.assert_array_equal(unpack_bits(stream, (count,), bits, signed=signed), values)


@pytest.mark.parametrize("name", ["INT2", "UINT2", "INT4", "UINT4"])
def test_it_is_onnx_packing_where_onnx_has_one(name: str) -> None:
    dtype = ir.DataType[name]
    low = -(2 ** (dtype.bitwidth - 1)) if name.startswith("I") else 0
    values = np.random.default_rng(0).integers(low, low + 2**dtype.bitwidth, (3, 7))
    np.testing.assert_array_equal(pack_bits(values, dtype.bitwidth), pack(values, dtype))


def test_what_does_not_fit_is_refused() -> None:
    for value in (8, -5):
        with pytest.raises(ConfigurationError, match="outside 3 bits"):
            pack_bits(np.asarray([value]), 3)
    with pytest.raises(ConfigurationError, match="do not hold"):
        unpack_bits(np.zeros(2, np.uint8), (9,), 2)
