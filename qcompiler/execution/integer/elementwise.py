"""Elementwise ops, Concat and Softmax in integers, by the rounding rules of ORT's kernels.

ONNX Runtime's QLinearAdd and QLinearMul add the zero point before they round, so a tie goes to the
even *stored* value, and Add works on scale ratios with fused multiply-adds. Both differ from
Q(op(DQ(a), DQ(b))) on ties, which are common when scales are related by small factors. Found by
experiment on ONNX Runtime 1.31.1 (tests/execution/test_integer_ort.py); it is exact on CPUs with
fused multiply-add.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from qcompiler.execution.integer.operand import (
    Array,
    Attributes,
    Kernel,
    Operand,
    QuantizedOperand,
    as_quantized,
    as_real,
)
from qcompiler.quantization.numerics import quantize, round_saturate
from qcompiler.quantization.qspace import FloatArray, QParams

Formula = Callable[[FloatArray, Attributes], Array]
Binary = Callable[[FloatArray, FloatArray], Array]
Emit = Callable[[Array, QParams | None], Array]
"""How float results become the output's integers (float32 without parameters)."""


def emit(values: Array, output: QParams | None) -> Array:
    """Float results to the output's integers, or float32 without parameters."""
    narrow = np.asarray(values, np.float32)
    return narrow if output is None else quantize(narrow, output)


def add(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """QLinearAdd: round(a * ra + (b * rb + fixed)) with r = scale / output scale.

    `fixed` = output zero point - (ra * za + rb * zb). ORT swaps the operands when the first one is
    the same along the innermost axis and the second is not.
    """
    pair = _eight_bit_pair(inputs, output)
    if pair is None or output is None:
        return emit(as_real(inputs[0]) + as_real(inputs[1]), output)
    first, second = pair[::-1] if _repeats_inside(pair[0].data, pair[1].data) else pair
    ratio_a, ratio_b = (item.params.scale / output.scale for item in (first, second))
    zero_a, zero_b = (item.params.zero_point.astype(np.float32) for item in (first, second))
    inner = multiply_add(ratio_a, zero_a, ratio_b * zero_b)
    fixed = output.zero_point.astype(np.float32) - inner
    a, b = first.data.astype(np.float32), second.data.astype(np.float32)
    sums = multiply_add(a, ratio_a, multiply_add(b, ratio_b, fixed))
    return round_saturate(sums, np.int64(0), output.space)


def mul(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """QLinearMul: round((a - za) * (b - zb) * (sa * sb / so) + zo)."""
    pair = _eight_bit_pair(inputs, output)
    if pair is None or output is None:
        return emit(as_real(inputs[0]) * as_real(inputs[1]), output)
    product = (pair[0].centred * pair[1].centred).astype(np.float32)
    ratio = (pair[0].params.scale * pair[1].params.scale) / output.scale
    shifted = product * ratio + output.zero_point.astype(np.float32)
    return round_saturate(shifted, np.int64(0), output.space)


def softmax(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """QLinearSoftmax: a table of exponentials, summed in float32 in order (opset 13 axis rule).

    The rule is that of onnxruntime/contrib_ops/cpu/quantization/qlinear_softmax.cc:
    round(e * floor(1 / output scale) / sum) + zero point.
    """
    operand = inputs[0]
    axis = int(attributes.get("axis", -1))
    if (
        output is None
        or output.space.storage_bits != 8
        or not isinstance(operand, QuantizedOperand)
    ):
        return emit(real_softmax(as_real(operand), attributes), output)
    data = operand.data.astype(np.int64)
    table = _exponentials(float(operand.params.scale), data.shape[axis])
    terms = table[data - data.max(axis=axis, keepdims=True) + 255]
    # cumsum adds one by one, as the kernel does; sum would add in pairs.
    total = np.take(np.cumsum(terms, axis=axis, dtype=np.float32), [-1], axis=axis)
    levels = np.floor(np.float32(1.0) / output.scale)
    with np.errstate(over="ignore"):
        scaled = (terms * levels) / total
    # Over a single element the kernel's product overflows; the right value does not.
    scaled = np.where(np.isfinite(scaled), scaled, terms / total * levels)
    whole = np.rint(scaled).astype(np.int64) + output.zero_point
    clamped = np.clip(whole, output.space.qmin, output.space.qmax)
    return np.asarray(clamped.astype(output.space.dtype.numpy()))


def real_softmax(values: FloatArray, attributes: Attributes) -> Array:
    """Softmax along `axis`, in float64."""
    from scipy.special import softmax  # 17 MB, which few programs need

    wide = values.astype(np.float64)
    return np.asarray(softmax(wide, axis=int(attributes.get("axis", -1))))


def sigmoid(values: Array) -> Array:
    """Sigmoid in float64."""
    from scipy.special import expit

    return np.asarray(expit(values.astype(np.float64)))


def elu(values: FloatArray, attributes: Attributes) -> Array:
    """Elu in float32."""
    alpha = np.float32(attributes.get("alpha", 1.0))
    return np.where(values < 0, alpha * np.expm1(values), values)


def _exponentials(scale: float, length: int) -> npt.NDArray[np.float32]:
    """The kernel's table: exp((i - 255 + shift) * scale), with the largest finite sum."""
    most = np.log(np.finfo(np.float32).max / np.float32(length))
    shift = max(0.0, float(most) - 5.0) / scale
    return np.exp((np.arange(256.0) - 255.0 + shift) * scale).astype(np.float32)


def _leaky_relu(values: FloatArray, attributes: Attributes) -> Array:
    alpha = np.float32(attributes.get("alpha", 0.01))
    return np.where(values >= 0, values, alpha * values)


def _clip(values: FloatArray, attributes: Attributes) -> Array:
    low, high = attributes.get("min", -np.inf), attributes.get("max", np.inf)
    return np.asarray(np.clip(values, np.float32(low), np.float32(high)))


def _hard_sigmoid(values: FloatArray, attributes: Attributes) -> Array:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return np.asarray(np.clip(np.float32(alpha) * values + np.float32(beta), 0.0, 1.0))


def _hard_swish(values: FloatArray, attributes: Attributes) -> Array:
    return np.asarray(values * np.clip(values / np.float32(6.0) + np.float32(0.5), 0.0, 1.0))


def _gelu(values: FloatArray, attributes: Attributes) -> Array:
    wide = values.astype(np.float64)
    if attributes.get("approximate", "none") in ("tanh", b"tanh"):
        inner = np.sqrt(2.0 / np.pi) * (wide + 0.044715 * wide * wide * wide)
        return np.asarray(0.5 * wide * (1.0 + np.tanh(inner)))
    from scipy.special import erf

    return np.asarray(0.5 * wide * (1.0 + erf(wide / np.sqrt(2.0))))


_UNARY: dict[str, Formula] = {
    "Sigmoid": lambda values, _: sigmoid(values),
    "Tanh": lambda values, _: np.tanh(values.astype(np.float64)),
    "Relu": lambda values, _: np.maximum(values, np.float32(0.0)),
    "LeakyRelu": _leaky_relu,
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Gelu": _gelu,
}
_BINARY: dict[str, Binary] = {
    "Sub": np.subtract,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
}


def unary_kernel(formula: Formula, emit: Emit = emit) -> Kernel:
    """Q(f(DQ(x))), which is what a kernel's lookup table holds."""

    def kernel(
        attributes: Attributes,
        inputs: Sequence[Operand],
        weight: QuantizedOperand | None,
        bias: Array | None,
        output: QParams | None,
    ) -> Array:
        return emit(formula(as_real(inputs[0]), attributes), output)

    return kernel


def concat_kernel(emit: Emit = emit) -> Kernel:
    """QLinearConcat: every operand is brought to the output's parameters by itself."""

    def kernel(
        attributes: Attributes,
        inputs: Sequence[Operand],
        weight: QuantizedOperand | None,
        bias: Array | None,
        output: QParams | None,
    ) -> Array:
        parts = [emit(as_real(item), output) for item in inputs]
        return np.concatenate(parts, axis=int(attributes["axis"]))

    return kernel


def _binary_kernel(function: Binary) -> Kernel:
    """Q(f(DQ(a), DQ(b))) in float32, for ops that no engine has an integer kernel for."""

    def kernel(
        attributes: Attributes,
        inputs: Sequence[Operand],
        weight: QuantizedOperand | None,
        bias: Array | None,
        output: QParams | None,
    ) -> Array:
        return emit(function(as_real(inputs[0]), as_real(inputs[1])), output)

    return kernel


ELEMENTWISE: dict[str, Kernel] = {
    "Add": add,
    "Mul": mul,
    "Concat": concat_kernel(),
    "Softmax": softmax,
    **{op: unary_kernel(formula) for op, formula in _UNARY.items()},
    **{op: _binary_kernel(function) for op, function in _BINARY.items()},
}
"""Op to kernel, for the ops of this module."""


def _eight_bit_pair(
    inputs: Sequence[Operand], output: QParams | None
) -> tuple[QuantizedOperand, QuantizedOperand] | None:
    """Both operands, if an 8-bit kernel exists for them."""
    if output is None or not all(isinstance(item, QuantizedOperand) for item in inputs[:2]):
        return None
    first, second = as_quantized(inputs[0], 0), as_quantized(inputs[1], 1)
    kinds = {first.params.space.dtype, second.params.space.dtype, output.space.dtype}
    return (first, second) if len(kinds) == 1 and output.space.storage_bits == 8 else None


def _repeats_inside(first: Array, second: Array) -> bool:
    """Whether broadcasting repeats `first` along the innermost axis on which either has extent."""
    rank = max(first.ndim, second.ndim)
    left = (1,) * (rank - first.ndim) + first.shape
    right = (1,) * (rank - second.ndim) + second.shape
    for one, other in zip(reversed(left), reversed(right), strict=True):
        if one != 1 or other != 1:
            return one == 1
    return False


def multiply_add(a: Array, b: Array, c: Array) -> FloatArray:
    """A * b + c rounded once to float32: the product of two float32 is exact in float64."""
    wide = np.asarray(a, np.float64) * np.asarray(b, np.float64) + np.asarray(c, np.float64)
    return np.asarray(wide, np.float32)
