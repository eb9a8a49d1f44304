"""Products whose activations are quantized at run time, against the same sums in numpy.

The kernel writes float, so elements are compared with a bound that is derived for each of them:
the sums are exact; what may differ is the rounding of activations that lie on a tie, to the last
bits of x / scale, and float32 roundings of scales, product and bias.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qcompiler.execution.integer.histogram import by_steps
from qcompiler.execution.integer.operand import Array, require_finite
from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, constant, is_op, sole_user
from qcompiler.target.arithmetic import DynamicRange

_ULPS = 2.0**-22
"""Relative rounding of a few float32 operations in a row."""


@dataclass(frozen=True, eq=False)
class DynamicProduct:
    """x → DynamicQuantizeLinear → MatMulInteger → Cast → Mul [→ Add], as one kernel runs it.

    Attributes:
        source: x, float32 [..., K].
        weight: Integers minus zero point, float64 [K, N].
        scale: float32, () or [N].
        bias: float32 [N], or None.
        result: float32 [..., N].
        choose: The engine's rule for scale and zero point.
    """

    source: ir.Value
    weight: Array
    scale: Array
    bias: Array | None
    result: ir.Value
    choose: DynamicRange

    @property
    def ops(self) -> str:
        return f"{self.kind}, dynamic"

    @property
    def kind(self) -> str:
        return "MatMul"

    @property
    def values(self) -> tuple[ir.Value, ...]:
        return self.source, self.result

    def work(self, arrays: Mapping[str, Array]) -> float:
        """Multiplications."""
        return float(arrays[self.source.name or ""].size * self.weight.shape[1])

    def differences(self, arrays: Mapping[str, Array], rows: int | None) -> dict[int, int]:
        """Elements by how many accumulator steps they are beyond the bound.

        The range is that of all rows, whatever `rows` limits the comparison to.
        """
        x, found = (arrays[value.name or ""] for value in self.values)
        require_finite(x)
        scale, zero = self.choose(x)
        if rows is not None and x.ndim == found.ndim > 1:
            x, found = x[:rows], found[:rows]
        wanted, allowed = self.expected(x, scale, zero)
        step = float(scale) * self.scale.astype(np.float64)
        return by_steps(np.abs(wanted - found) - allowed, step)

    def expected(self, x: Array, scale: np.float32, zero: int) -> tuple[Array, Array]:
        """The product in float64 for activations quantized so, and its bound."""
        centred, flips = quantized_rows(x, scale, zero)
        step = float(scale) * self.scale.astype(np.float64)
        product = centred @ self.weight * step
        allowed = np.abs(product) * _ULPS + flips @ np.abs(self.weight) * step
        if self.bias is None:
            return product, allowed
        return product + self.bias, allowed + (np.abs(product) + np.abs(self.bias)) * _ULPS


def quantized_rows(x: Array, scale: np.float32, zero: int) -> tuple[Array, Array]:
    """Integers minus zero point, and 1.0 where the last bits decide which integer it is."""
    steps = x.astype(np.float64) / float(scale)
    centred = np.clip(np.rint(steps), -zero, 255 - zero)
    # Some kernels add the zero point before they round, in float32.
    near = np.abs(steps - np.floor(steps) - 0.5) <= (np.abs(steps) + zero + 1) * _ULPS
    return centred, near.astype(np.float64)


def dynamic_checks(
    program: Program, keys: Collection[str], choose: DynamicRange
) -> Iterator[tuple[str, DynamicProduct]]:
    """The kernels of these regions that have a reference, by region key."""
    for node in all_nodes(program.model):
        key = node.metadata_props.get(REGION_KEY, "")
        if key in keys and is_op(node, "MatMulInteger"):
            found = dynamic_product(node, choose)
            if found is not None:
                yield key, found


def dynamic_product(node: ir.Node, choose: DynamicRange) -> DynamicProduct | None:
    """The kernel that a MatMulInteger stands for, None if it is not written as ours are."""
    integers = node.inputs[0].producer() if node.inputs[0] is not None else None
    weight = constant(node.inputs[1])
    if integers is None or not is_op(integers, "DynamicQuantizeLinear") or weight is None:
        return None
    zero = constant(node.inputs[3]) if len(node.inputs) > 3 else None
    cast = sole_user(node.outputs[0])
    rescale = sole_user(cast.outputs[0]) if is_op(cast, "Cast") and cast is not None else None
    scale = _constant_factor(rescale, integers)
    source = integers.inputs[0]
    if rescale is None or scale is None or source is None:
        return None
    add = sole_user(rescale.outputs[0])
    bias = _added(add, rescale.outputs[0]) if is_op(add, "Add") and add is not None else None
    points = np.zeros(1) if zero is None else zero.astype(np.float64)
    return DynamicProduct(
        source,
        weight.astype(np.float64) - points,
        scale.reshape(-1) if scale.size > 1 else scale.reshape(()),
        bias,
        rescale.outputs[0] if bias is None or add is None else add.outputs[0],
        choose,
    )


def _constant_factor(rescale: ir.Node | None, integers: ir.Node) -> Array | None:
    """The weight's scale in Mul(sum, Mul(activation scale, weight scale))."""
    if rescale is None or not is_op(rescale, "Mul"):
        return None
    for factor in rescale.inputs:
        scales = factor.producer() if factor is not None else None
        if scales is not None and is_op(scales, "Mul") and integers.outputs[1] in scales.inputs:
            return next((c for c in map(constant, scales.inputs) if c is not None), None)
    return None


def _added(add: ir.Node, product: ir.Value) -> Array | None:
    """A bias vector that the kernel may have absorbed."""
    others = [value for value in add.inputs if value is not product]
    bias = constant(others[0]) if len(others) == 1 else None
    if bias is None or bias.size != (bias.shape or (1,))[-1]:
        return None  # not one number per column
    return bias.reshape(-1)
