"""Conv, ConvTranspose, Gemm and MatMul behind one view: where the channels of the weight lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.element_types import UP_TO_SINGLE
from qcompiler.ir.optraits import LINEAR
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, rank
from qcompiler.passes.fusion.affine import Affine, conv_of_constant, rounded, scale_axis

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Linear:
    """One linear operator with a constant weight.

    Attributes:
        node: The operator.
        weight: Its weight, not to be written to.
        bias: float64 [out_channels] as added to the result, None if there is none.
        groups: Convolution groups.
        out_axis: Axis of the weight with the output channels (per group for ConvTranspose).
        in_axis: Axis of the weight with the input channels (per group for Conv).
        alpha: Factor on the product (Gemm).
    """

    node: ir.Node
    weight: Array
    bias: Array | None
    groups: int
    out_axis: int
    in_axis: int
    alpha: float = 1.0

    @property
    def out_channels(self) -> int:
        size = int(self.weight.shape[self.out_axis])
        return size * self.groups if self.node.op_type == "ConvTranspose" else size

    @property
    def in_channels(self) -> int:
        size = int(self.weight.shape[self.in_axis])
        return size * self.groups if self.node.op_type == "Conv" else size

    @property
    def takes_bias(self) -> bool:
        return self.node.op_type != "MatMul"

    @property
    def pads_with_zeros(self) -> bool:
        """Whether results at the border see zeros that the input does not hold."""
        if is_op(self.node, "ConvTranspose"):
            return True
        if not is_op(self.node, "Conv"):
            return False
        pads = self.node.attributes.get_ints("pads")
        auto = self.node.attributes.get_string("auto_pad", "NOTSET")
        return auto not in ("NOTSET", "VALID") or any(pads or ())

    def activation_axis(self, value: ir.Value) -> tuple[int, int] | None:
        """Rank of an input or output value and the axis with its channels, None if unknown."""
        if is_op(self.node, "Conv", "ConvTranspose"):
            return self.weight.ndim, 1
        dims = 2 if is_op(self.node, "Gemm") else rank(value)
        if dims is None and self.weight.ndim == 2:
            dims = rank(self.node.inputs[0])
        return None if dims is None or dims < 2 else (dims, dims - 1)


def read_linear(node: ir.Node) -> Linear | None:
    """The view on a node, None if it is no linear operator with a constant float weight."""
    if not is_op(node, *LINEAR):
        return None
    operand = node.inputs[1]
    if operand is None or operand.dtype not in UP_TO_SINGLE:
        return None
    weight = constant(operand)
    if weight is None or weight.ndim < 2 or constant(node.inputs[0]) is not None:
        return None
    if is_op(node, "MatMul"):
        return Linear(node, weight, None, 1, weight.ndim - 1, weight.ndim - 2)
    if is_op(node, "Gemm"):
        return _gemm(node, weight)
    groups = node.attributes.get_int("group", 1)
    transposed = is_op(node, "ConvTranspose")
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    known, bias = _bias(node, channels)
    if not known:
        return None
    return Linear(node, weight, bias, groups, int(transposed), int(not transposed))


def _gemm(node: ir.Node, weight: Array) -> Linear | None:
    out_axis = 0 if node.attributes.get_int("transB", 0) else 1
    known, bias = _bias(node, weight.shape[out_axis])
    if not known:
        return None
    if bias is not None:
        bias = bias * node.attributes.get_float("beta", 1.0)
    alpha = node.attributes.get_float("alpha", 1.0)
    return Linear(node, weight, bias, 1, out_axis, 1 - out_axis, alpha)


def _bias(node: ir.Node, channels: int) -> tuple[bool, Array | None]:
    """Whether the bias is absent or constant per channel, and its float64 values."""
    operand = node.inputs[2] if len(node.inputs) > 2 else None
    if operand is None:
        return True, None
    array = constant(operand)
    if array is None or array.size not in (1, channels):
        return False, None
    if any(size != 1 for size in array.shape[:-1]) and array.size > 1:
        return False, None
    return True, np.broadcast_to(array.astype(np.float64).reshape(-1), (channels,))


def after(linear: Linear, step: Affine) -> tuple[Array, Array | None] | None:
    """Weight and bias of the operator with `step` behind it; None if they do not fit the type.

    The bias is float64-computed and may belong to an Add (MatMul).
    """
    exact = scale_axis(linear.weight, step.scale, linear.out_axis, _groups_of_output(linear))
    bias = np.zeros(linear.out_channels) if linear.bias is None else linear.bias
    return _rounded(linear, exact, bias * step.scale + step.shift)


def before(linear: Linear, step: Affine) -> tuple[Array, Array | None] | None:
    """Weight and bias of the operator with `step` in front of it; None if they do not fit.

    Exact for a shift only where no zeros are padded; the caller checks that.
    """
    groups = linear.groups if is_op(linear.node, "Conv") else 1
    exact = scale_axis(linear.weight, step.scale, linear.in_axis, groups)
    bias = np.zeros(linear.out_channels) if linear.bias is None else linear.bias
    if step.shifts:
        bias = bias + linear.alpha * of_constant(linear, step.shift)
    return _rounded(linear, exact, bias)


def of_constant(linear: Linear, shift: Array) -> Array:
    """The operator's result, without bias, for an input that is `shift` everywhere."""
    if is_op(linear.node, "Conv"):
        return conv_of_constant(linear.weight, shift, linear.groups)
    weight = np.moveaxis(linear.weight.astype(np.float64), linear.in_axis, 0)
    return np.tensordot(np.broadcast_to(shift, (weight.shape[0],)), weight, axes=1)


def _groups_of_output(linear: Linear) -> int:
    return linear.groups if is_op(linear.node, "ConvTranspose") else 1


def _rounded(linear: Linear, weight: Array, bias: Array) -> tuple[Array, Array | None] | None:
    new_weight, new_bias = rounded(weight, linear.weight), rounded(bias, linear.weight)
    if new_weight is None or new_bias is None:
        return None
    keeps = linear.bias is not None or bool(np.any(new_bias != 0))
    return new_weight, new_bias if keeps else None


def store(linear: Linear, weight: Array, bias: Array | None, rewriter: Rewriter) -> None:
    """Gives the node a new weight and bias; the old ones stay as they are for other users."""
    node = linear.node
    old = node.inputs[1]
    assert old is not None
    rewriter.set_input(node, 1, rewriter.constant(weight, f"{old.name}_folded"))
    if bias is None or not linear.takes_bias:
        return
    given = node.inputs[2] if len(node.inputs) > 2 else None
    stem = f"{node.outputs[0].name}_bias" if given is None else f"{given.name}_folded"
    rewriter.set_input(node, 2, rewriter.constant(bias, stem))
    if is_op(node, "Gemm") and node.attributes.get_float("beta", 1.0) != 1.0:
        rewriter.set_attribute(node, "beta", 1.0)
