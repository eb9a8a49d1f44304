"""The integer rules of torch's engines, for `verify`: bias, averages, arithmetic (facts in docs).

Exact sums, one float32 multiplier, round half to even, as ONNX Runtime; what differs:

* fbgemm, onednn and x86 add the bias in float, (acc + b / (sx sw)) m; qnnpack in int32.
* Averages are taken in float.
* Quantizing multiplies by 1 / scale, so exact ties may go the other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from qcompiler.execution.integer.elementwise import (
    concat_kernel,
    elu,
    multiply_add,
    real_softmax,
    unary_kernel,
)
from qcompiler.execution.integer.fixed_point import fixed_point_sum
from qcompiler.execution.integer.operand import (
    Array,
    Attributes,
    Kernel,
    Operand,
    QuantizedOperand,
    along_channels,
    as_quantized,
    as_real,
)
from qcompiler.execution.integer.reference import KERNELS
from qcompiler.ir.optraits import LINEAR
from qcompiler.quantization.biases import bias_scale
from qcompiler.quantization.numerics import round_saturate
from qcompiler.quantization.qspace import QParams
from qcompiler.target.arithmetic import Arithmetic, Tolerance

_ONEDNN = Tolerance(1, 0.001)
_AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")
_TIED = Tolerance(1, 0.02, ties=True)
"""Float sums take ties either way. Means of few integers, where operand and result have one scale,
are ties in up to 29 % of the elements (measured, docs/torch-engines.md); of sums, the last elements
are rounded by another rule, since they fill no vector."""
_SMALLEST_SCALE = float(np.float32(6.1e-5))
"""SMALL_SCALE_THRESHOLD of QuantUtils.h."""
_APPROXIMATE = Tolerance(1, 0.02)
"""Kernels that compute in float with approximated functions."""


@cache
def arithmetic_of(engine: str) -> Arithmetic:
    """Kernels and tolerances of `fbgemm`, `qnnpack`, `onednn` or `x86`."""
    integer_bias = engine == "qnnpack"
    kernels: dict[str, Kernel] = {op: _weighted(op, integer_bias) for op in LINEAR}
    kernels |= {"Add": _add(integer_bias), "Mul": _mul, "Concat": concat_kernel(_emit)}
    kernels |= {"Elu": unary_kernel(elu, _emit), "Softmax": unary_kernel(real_softmax, _emit)}
    kernels |= {"AveragePool": _average_pool, "Clip": _kept}
    kernels |= dict.fromkeys(("GlobalAveragePool", "ReduceMean"), _mean)
    tolerances = dict.fromkeys(
        ("Sigmoid", "HardSwish", "Elu", "Tanh", "HardSigmoid", "LeakyRelu", "Softmax"), _APPROXIMATE
    )
    tolerances |= dict.fromkeys(("Mul", "Concat"), Tolerance(1, 0.001, ties=True))
    if engine in ("onednn", "x86"):
        tolerances |= dict.fromkeys(LINEAR, _ONEDNN)
    else:
        tolerances |= dict.fromkeys(LINEAR, Tolerance(0))
    tolerances |= dict.fromkeys((*_AVERAGES, "Add"), _TIED)
    return Arithmetic(kernels, clips=True, tolerances=tolerances, dynamic=_range)


def _range(x: Array) -> tuple[np.float32, int]:
    """ChooseQuantizationParams in ATen/native/quantized/cpu/QuantUtils.h, for uint8.

    Scales have a floor; the zero point comes from the end of the range that rounds better.
    """
    low, high = (float(end) for end in (min(x.min(initial=0.0), 0), max(x.max(initial=0.0), 0)))
    scale = (high - low) / 255
    if np.float32(scale) == 0:
        scale = 0.1
    elif scale < _SMALLEST_SCALE:
        widened = _SMALLEST_SCALE / scale
        low, high, scale = low * widened, high * widened, _SMALLEST_SCALE
    from_low, from_high = -low / scale, 255 - high / scale
    better = from_low if abs(low / scale) < 255 + abs(high / scale) else from_high
    return np.float32(scale), int(np.clip(np.rint(better), 0, 255))


def _weighted(op: str, integer_bias: bool) -> Kernel:
    """A product with the engine's bias rule; a second activation of Conv is the skip operand."""

    def kernel(
        attributes: Attributes,
        inputs: Sequence[Operand],
        weight: QuantizedOperand | None,
        bias: Array | None,
        output: QParams | None,
    ) -> Array:
        left = as_quantized(inputs[0], 0)
        if weight is None or output is None:
            return KERNELS[op](attributes, inputs, weight, bias, output)
        step = bias_scale(left.params.scale, weight.params.scale)
        whole, real = _split_bias(bias, step, integer_bias)
        sums = KERNELS[op](attributes, [_unscaled(left)], _unscaled(weight), whole, None)
        axis = 1 - weight.data.ndim if op.startswith("Conv") else -1
        if real is not None:
            sums = sums + along_channels(real / step, axis)
        step = along_channels(step, axis)
        if len(inputs) > 1:
            return _quantized(sums * step + as_real(inputs[1]), output)
        # qnnpack multiplies by the inverse (generate_requantization_scales, QnnpackUtils.h).
        inverse = np.float32(1.0) / output.scale
        multiplier = step * inverse if integer_bias else step / output.scale
        return round_saturate(sums * multiplier, output.zero_point, output.space)

    return kernel


def _split_bias(
    bias: Array | None, step: Array, integer_bias: bool
) -> tuple[Array | None, Array | None]:
    """The bias as int32 steps, or as real values."""
    if bias is None:
        return None, None
    flat = bias.reshape(-1)
    if flat.dtype == np.int32:
        return (flat, None) if integer_bias else (None, flat.astype(np.float32) * step)
    if integer_bias:
        return np.rint(flat.astype(np.float32) / step).astype(np.int32), None
    return None, flat.astype(np.float32)


def _unscaled(operand: QuantizedOperand) -> QuantizedOperand:
    """The same integers with scale 1."""
    params = operand.params
    return QuantizedOperand(operand.data, replace(params, scale=np.ones_like(params.scale)))


def _emit(values: Array, output: QParams | None) -> Array:
    narrow = np.asarray(values, np.float32)
    return narrow if output is None else _quantized(narrow, output)


def _quantized(values: Array, output: QParams) -> Array:
    """torch.quantize_per_tensor: rint(x * (1 / scale)) + zero point, in float32."""
    steps = np.asarray(values, np.float32) * (np.float32(1.0) / output.scale)
    return round_saturate(steps, output.zero_point, output.space)


def _add(fixed_point: bool) -> Kernel:
    """Float addition; operands are dequantized by fused multiply-adds (QuantizedOpKernels.cpp)."""

    def kernel(
        attributes: Attributes,
        inputs: Sequence[Operand],
        weight: QuantizedOperand | None,
        bias: Array | None,
        output: QParams | None,
    ) -> Array:
        if output is None:
            return as_real(inputs[0]) + as_real(inputs[1])
        a, b = as_quantized(inputs[0], 0), as_quantized(inputs[1], 1)
        if fixed_point and a.data.shape == b.data.shape:
            return _fixed_point_sum(a, b, output)
        return _quantized(_fused_real(a) + _fused_real(b), output)

    return kernel


def _fused_real(operand: QuantizedOperand) -> Array:
    """scale * q + (-scale * zero point), rounded once: the product is exact in float64."""
    scale = operand.params.scale
    offset = multiply_add(-scale, operand.params.zero_point, np.zeros(()))
    return multiply_add(operand.data, scale, offset)


def _fixed_point_sum(a: QuantizedOperand, b: QuantizedOperand, output: QParams) -> Array:
    """QNNPACK's q8add: ratios of scales in 22 bits, half away from zero (qnnpack/requantization.h).

    Found equal on 60 000 random sums (torch 2.13).
    """
    total, shift = fixed_point_sum(a, b, output, 21)
    mask = (1 << shift) - 1
    rest = (total & mask) - (total < 0)
    whole = (total >> shift) + (rest > mask >> 1)
    return round_saturate(whole.astype(np.float64), output.zero_point, output.space)


def _mul(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """Product of the integers times one multiplier."""
    if output is None:
        return as_real(inputs[0]) * as_real(inputs[1])
    a, b = as_quantized(inputs[0], 0), as_quantized(inputs[1], 1)
    product = (a.centred * b.centred).astype(np.float32)
    ratio = (a.params.scale * b.params.scale) / output.scale
    return round_saturate(product * ratio, output.zero_point, output.space)


def _kept(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """The integers as they are; the caller cuts them to the bounds of the Clip."""
    return as_real(inputs[0]) if output is None else as_quantized(inputs[0], 0).data


def _mean(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """The mean over all spatial axes, in float."""
    real = as_real(inputs[0])
    keep = bool(attributes.get("keepdims", 1))
    mean = real.mean(tuple(range(2, real.ndim)), keepdims=keep, dtype=np.float64)
    return _emit(mean, output)


def _average_pool(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """The pool in float."""
    return _emit(KERNELS["AveragePool"](attributes, inputs, weight, bias, None), output)
