"""How a weight is rounded under a space, and how far that moves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.decisions.roundings import nearest
from qcompiler.ir.qdq import layout_of
from qcompiler.ir.walk import stored_array
from qcompiler.quantization.numerics import dequantize
from qcompiler.quantization.qspace import QParams, QSpace

Array = npt.NDArray[Any]
_BLOCK = 1 << 18


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
        """Integers, scale and zero point, as a DequantizeLinear takes them; levels are even."""
        scale = ir.Tensor(np.asarray(self.params.scale, np.float32))
        space = self.params.space
        return stored(self.integers, space), scale, zero_points(self.params)

    @property
    def real(self) -> npt.NDArray[np.float32]:
        """The float32 values that the integers stand for."""
        return dequantize(self.integers, self.params)

    def layout(self) -> dict[str, int]:
        """Attributes of that DequantizeLinear."""
        return layout_of(self.params)


def rounded_weight(node: ir.Node, value: ir.Value, space: QSpace) -> RoundedWeight | None:
    """The weight of a node as the target would round it; None if it is not stored."""
    rounding, array = nearest(node, value, space), stored_array(value)
    if rounding is None or array is None:
        return None
    pair = (each.reshape(-1) for each in (dequantize(rounding.integers, rounding.params), array))
    return RoundedWeight(rounding.integers, rounding.params, _squared_distance(*pair))


def _squared_distance(one: Array, two: Array) -> float:
    """In float64, a block at a time: of a large weight that would be twice as large as it is."""
    blocks = (slice(start, start + _BLOCK) for start in range(0, one.size, _BLOCK))
    gaps = (np.subtract(one[each], two[each], dtype=np.float64) for each in blocks)
    return float(sum(gap @ gap for gap in gaps))


def zero_points(params: QParams) -> ir.TensorProtocol:
    """The zero points as a tensor of the space's type."""
    return stored(params.zero_point, params.space)


def stored(array: npt.NDArray[Any], space: QSpace) -> ir.TensorProtocol:
    """In the space's own type, or int8 where opset 21 has none of so few bits."""
    dtype = ir.DataType.INT8 if space.storage_bits == 2 else space.dtype
    return ir.Tensor(array.astype(dtype.numpy()), dtype=dtype)
