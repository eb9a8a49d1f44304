"""How a weight is rounded under a space, and how far that moves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.optraits import weight_channel_axis
from qcompiler.ir.walk import is_op
from qcompiler.quantization.numerics import dequantize, quantize, weight_qparams
from qcompiler.quantization.qspace import Granularity, QParams, QSpace


@dataclass(frozen=True, eq=False)
class RoundedWeight:
    """A constant weight in the integers of a space.

    Attributes:
        integers: The quantized values, in the weight's shape.
        params: Scale and zero point.
        error: Sum of the squared differences from the float values.
    """

    integers: npt.NDArray[Any]
    params: QParams
    error: float

    def parts(self) -> tuple[ir.TensorProtocol, ...]:
        """Integers, scale and zero point, as a DequantizeLinear takes them."""
        scale = ir.Tensor(np.asarray(self.params.scale, np.float32))
        space = self.params.space
        return stored(self.integers, space), scale, zero_points(self.params)

    def layout(self) -> dict[str, int]:
        """Attributes of that DequantizeLinear."""
        found = {} if self.params.axis is None else {"axis": self.params.axis}
        if self.params.space.group_size is not None:
            found["block_size"] = self.params.space.group_size
        return found


def rounded_weight(node: ir.Node, array: npt.NDArray[Any], space: QSpace) -> RoundedWeight:
    """Rounds the weight of a node as the target would."""
    axis = _channel_axis(node, space, array.ndim)
    space = space.with_granularity(Granularity.TENSOR) if axis is None else space
    exact = np.asarray(array, np.float32)
    params = weight_qparams(exact, space, axis)
    integers = quantize(exact, params)
    gap = np.subtract(dequantize(integers, params), exact, dtype=np.float64)
    return RoundedWeight(integers, params, float(np.square(gap).sum()))


def zero_points(params: QParams) -> ir.TensorProtocol:
    """The zero points as a tensor of the space's type."""
    return stored(params.zero_point, params.space)


def stored(array: npt.NDArray[Any], space: QSpace) -> ir.TensorProtocol:
    """In the space's own type, or int8 where opset 21 has none of so few bits."""
    dtype = ir.DataType.INT8 if space.storage_bits == 2 else space.dtype
    return ir.Tensor(array.astype(dtype.numpy()), dtype=dtype)


def _channel_axis(node: ir.Node, space: QSpace, rank: int) -> int | None:
    if space.granularity is Granularity.TENSOR:
        return None
    if space.granularity is Granularity.GROUP:
        transposed = is_op(node, "Gemm") and node.attributes.get_int("transB", 0) == 1
        return rank - 1 if transposed else rank - 2
    return 1 if is_op(node, "LSTM", "GRU", "RNN") else weight_channel_axis(node)
