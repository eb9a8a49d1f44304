"""Arithmetic on quantized tensors, by the rules of the integer reference.

Products add up integers exactly; the sum is multiplied by S_a * S_b / S_out in float32, rounded
half to even, and Z_out is added (Jacob et al. 2018, equation 3). Sums and products of elements
follow ONNX Runtime's QLinearAdd and QLinearMul at 8 bits of one type; elsewhere, the float32
result is rounded once.

`output` says what the result is quantized with: a tensor like it, `QParams`, a pair (scale, zero
point) in the space of the first operand, or None: then the exact result is looked at first, and its
own minimum and maximum give scale and zero point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qcompiler.errors import ConfigurationError
from qcompiler.execution.integer.operand import QuantizedOperand, is_wide
from qcompiler.execution.integer.reference import reference
from qcompiler.qtensor.containers import received
from qcompiler.qtensor.operands import (
    Array,
    Output,
    derived_params,
    per_axis,
    require_channels,
    require_even,
    require_tensor,
    result_params,
)
from qcompiler.qtensor.tensor import QTensor
from qcompiler.quantization.biases import bias_steps
from qcompiler.quantization.numerics import quantize


def add(a: QTensor, b: QTensor, output: Output = None) -> QTensor:
    """a + b, broadcast."""
    return _elementwise("Add", a, b, output)


def sub(a: QTensor, b: QTensor, output: Output = None) -> QTensor:
    """a - b, broadcast."""
    return _elementwise("Sub", a, b, output)


def mul(a: QTensor, b: QTensor, output: Output = None) -> QTensor:
    """a * b, elementwise, broadcast."""
    return _elementwise("Mul", a, b, output)


def matmul(a: QTensor, b: QTensor, bias: Any = None, output: Output = None) -> QTensor:
    """a @ b [+ bias].

    Args:
        a: [..., M, K], one scale.
        b: [..., K, N], one scale or one per column.
        bias: Float [N], which is rounded to steps of S_a * S_b; None for none.
        output: See above.
    """
    require_tensor(a, "matmul")
    require_channels(b, b.ndim - 1, "matmul")
    return _product("MatMul", {}, a, b, bias, output)


def conv2d(
    x: QTensor,
    weight: QTensor,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    output: Output = None,
) -> QTensor:
    """A convolution, with the arguments of `torch.nn.functional.conv2d`; any number of axes.

    Args:
        x: [N, C, H, W], one scale. Padding is its zero point, which is 0.0.
        weight: [M, C / groups, kH, kW], one scale or one per output channel (axis 0).
        bias: Float [M], which is rounded to steps of S_x * S_weight; None for none.
        stride: Steps, for all spatial axes or each.
        padding: On both sides.
        dilation: Between kernel elements.
        groups: Of channels.
        output: See above.
    """
    require_tensor(x, "conv2d")
    require_channels(weight, 0, "conv2d")
    spatial = x.ndim - 2
    if spatial < 1 or weight.ndim != x.ndim:
        raise ConfigurationError(
            f"data {x.shape} and weight {weight.shape} are no convolution",
            fix="give [N, C, H, W] and [M, C / groups, kH, kW]",
        )
    if groups < 1 or x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ConfigurationError(
            f"weight {weight.shape} in {groups} groups does not fit data {x.shape}",
            fix="give a weight [out, in / groups, ...] for data [n, in, ...]",
        )
    pads = per_axis(padding, spatial, "padding", 0)
    attributes = {
        "strides": per_axis(stride, spatial, "stride", 1),
        "dilations": per_axis(dilation, spatial, "dilation", 1),
        "pads": [*pads, *pads],
        "group": groups,
    }
    return _product("Conv", attributes, x, weight, bias, output)


def relu(x: QTensor, output: Output = None) -> QTensor:
    """max(x, 0): integers below the zero point become it."""
    require_even(x, "relu")
    zero = quantize(np.zeros(x.shape, np.float32), x.params)
    # numpy's comparison of 4-bit and 2-bit integers gives int8.
    kept = x.with_data(np.maximum(x.data, zero).astype(x.data.dtype))
    return kept if output is None else requantize(kept, output)


def requantize(x: QTensor, output: Output) -> QTensor:
    """The same values in other parameters: round(S / S_out * (q - Z)) + Z_out."""
    params = result_params(output, x)
    if params is None:
        raise ConfigurationError("nothing says what to requantize to", fix="give `output`")
    return QTensor(quantize(x.real, params), params, x.container)


def cat(tensors: Sequence[QTensor], axis: int = 0, output: Output = None) -> QTensor:
    """Joins tensors along an axis; those of one scale stay as they are.

    Raises:
        ConfigurationError: Nothing to join, or shapes that do not fit.
    """
    parts = list(tensors)
    if not parts or not all(isinstance(each, QTensor) for each in parts):
        raise ConfigurationError("there are no quantized tensors to join", fix="give one or more")
    first = parts[0]
    if not isinstance(axis, int | np.integer) or not -first.ndim <= axis < first.ndim:
        raise ConfigurationError(
            f"there is no axis {axis!r} in a tensor of shape {first.shape}",
            fix="give an axis of the tensors",
        )
    for each in parts:
        require_tensor(each, "cat")
    same = all(each.params.same_as(first.params) for each in parts)
    wanted = first if same and output is None else output
    return _computed("Concat", {"axis": axis}, parts, None, None, wanted)


def _elementwise(op: str, a: QTensor, b: QTensor, output: Output) -> QTensor:
    require_even(a, op.lower())
    require_even(b, op.lower())
    if a.axis is not None or b.axis is not None:
        # Kernels have one scale an operand; the float32 result is rounded once.
        return _rounded(op, a, b, output)
    return _computed(op, {}, [a, b], None, None, output)


def _rounded(op: str, a: QTensor, b: QTensor, output: Output) -> QTensor:
    functions = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}
    try:
        with np.errstate(over="ignore"):
            exact = functions[op](a.real, b.real)
    except ValueError as error:
        raise _do_not_fit(op, [a, b]) from error
    params = result_params(output, a) or derived_params(exact, a)
    return QTensor(quantize(exact, params), params, a.container)


def _product(
    op: str, attributes: Mapping[str, Any], a: QTensor, b: QTensor, bias: Any, output: Output
) -> QTensor:
    terms = None
    if bias is not None:
        terms = np.asarray(received(bias)[0], np.float32)
        channels = b.shape[0] if op == "Conv" else b.shape[-1]
        if terms.shape != (channels,):
            raise ConfigurationError(
                f"a bias {terms.shape} does not fit {channels} channels",
                fix="give one number for each output channel",
            )
    _require_room(op, a, b, terms)
    return _computed(op, attributes, [a], b, terms, output)


def _require_room(op: str, a: QTensor, b: QTensor, bias: Array | None) -> None:
    """Kernels' int32 sums wrap around in silence; here that is an error.

    Raises:
        ConfigurationError: The sums of these operands may leave the accumulator.
    """
    left, right = (QuantizedOperand(each.data, each.params).centred for each in (a, b))
    length = int(np.prod(b.shape[1:])) if op == "Conv" else a.shape[-1] if a.ndim else 1
    most = length * np.abs(left).max(initial=0.0) * np.abs(right).max(initial=0.0)
    if bias is not None:
        steps = bias_steps(bias, a.params.scale, b.params.scale)
        most += float(np.abs(steps).max(initial=0.0))
    bits = 53 if is_wide(a.params, b.params) else 31
    if most >= 2.0**bits:
        raise ConfigurationError(
            f"sums of up to {most:.2g} steps may leave the accumulator of {bits + 1} bits",
            where=f"{op} of {a.shape} and {b.shape}",
            fix="quantize to 16 bits, split the sum, or dequantize()"
            if bits == 31
            else "split the sum, or dequantize()",
        )


def _computed(
    op: str,
    attributes: Mapping[str, Any],
    inputs: Sequence[QTensor],
    weight: QTensor | None,
    bias: Array | None,
    output: Output,
) -> QTensor:
    first = inputs[0]
    given = result_params(output, first)
    operands = [QuantizedOperand(each.data, each.params) for each in inputs]
    stored = None if weight is None else QuantizedOperand(weight.data, weight.params)
    try:
        with np.errstate(over="ignore"):
            if given is None:
                given = derived_params(reference(op, attributes, operands, stored, bias), first)
            data = reference(op, attributes, operands, stored, bias, given)
    except ValueError as error:
        parts = [*inputs, weight] if weight is not None else inputs
        raise _do_not_fit(op, parts) from error
    return QTensor(data, given, first.container)


def _do_not_fit(op: str, parts: Sequence[QTensor | None]) -> ConfigurationError:
    shapes = " and ".join(str(each.shape) for each in parts if each is not None)
    return ConfigurationError(
        f"{op} of {shapes} is not defined",
        fix="give tensors whose shapes fit, as numpy broadcasts them",
    )
