"""Writing one operator on integers as Q/DQ around the float operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, rank

Array = npt.NDArray[Any]
_FLOAT = ir.DataType.FLOAT


@dataclass(frozen=True, eq=False)
class QuantizedForm:
    """An operator on integers that is being written otherwise."""

    node: ir.Node
    rewriter: Rewriter

    def operand(self, index: int) -> ir.Value | None:
        """An operand; None where it is left out."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def read(self, first: int, axis: int | None = None) -> ir.Value | None:
        """The float value of operands (value, scale, zero point) that begin at `first`."""
        value, scale = self.operand(first), self.operand(first + 1)
        if value is None or scale is None:
            return None
        return self.dequantized(value, scale, self.operand(first + 2), axis)

    def dequantized(
        self,
        value: ir.Value,
        scale: ir.Value | Array,
        zero: ir.Value | None = None,
        axis: int | None = None,
    ) -> ir.Value | None:
        """The float value of integers, None if scales by channel are not known or fit no axis."""
        if not isinstance(scale, ir.Value):
            scale = self.rewriter.constant(np.asarray(scale, np.float32), f"{value.name}_scale")
        single = _is_single(scale)
        if not single and (axis is None or constant(scale) is None):
            return None
        if single and zero is not None and not _is_single(zero):
            return None
        made = self.rewriter.insert(
            "DequantizeLinear",
            [value, scale, *(() if zero is None else (zero,))],
            before=self.node,
            attributes={} if single or axis is None else {"axis": axis},
            outputs=(f"{value.name}_dequantized",),
            dtype=_FLOAT,
            shape=value.shape,
        )
        return made.outputs[0]

    def compute(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
    ) -> ir.Value:
        """The float operator."""
        output = self.node.outputs[0]
        made = self.rewriter.insert(
            op_type,
            inputs,
            before=self.node,
            attributes=attributes,
            outputs=(f"{output.name}_float",),
            dtype=_FLOAT,
            shape=output.shape,
        )
        return made.outputs[0]

    def write(self, value: ir.Value, scale: ir.Value | None, zero: ir.Value | None) -> bool:
        """Puts the quantized value in the place of the operator's; float where it has no scale."""
        output = self.node.outputs[0]
        if scale is None:
            self.rewriter.take_over(value, output)
            return True
        kind = ir.DataType.UINT8 if zero is None or zero.dtype is None else zero.dtype
        made = self.rewriter.insert(
            "QuantizeLinear",
            [value, scale, *(() if zero is None else (zero,))],
            before=self.node,
            outputs=(f"{output.name}_quantized",),
            dtype=kind,
            shape=output.shape,
        )
        self.rewriter.take_over(made.outputs[0], output)
        return True

    def attributes(self, *names: str) -> dict[str, Any]:
        """Those of the operator's attributes that it has."""
        found = self.node.attributes
        return {name: found[name].value for name in names if name in found}

    def integer_bias(self, value: ir.Value, *scales: ir.Value | None) -> ir.Value | None:
        """An int32 bias in steps of the product of the scales, as float; None if not known."""
        step: Array = np.asarray(1.0, np.float32)
        for scale in scales:
            array = constant(scale)
            if array is None:
                return None
            step = step * np.asarray(array, np.float32).reshape(-1)
        step = step.reshape(()) if step.size == 1 else step
        axis = None if step.ndim == 0 else max((rank(value) or 1) - 1, 0)
        return self.dequantized(value, step, None, axis)


def _is_single(value: ir.Value) -> bool:
    shape = value.shape
    if shape is None:
        array = constant(value)
        return array is not None and array.size == 1
    return shape.is_static() and int(np.prod(shape.numpy())) == 1
