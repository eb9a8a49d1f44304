"""Convolutions in integers, any number of spatial dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError
from qcompiler.execution.integer.operand import (
    Array,
    Attributes,
    Operand,
    QuantizedOperand,
    as_quantized,
    finish,
    integers,
)
from qcompiler.quantization.qspace import QParams

Floats = npt.NDArray[np.float64]


def conv(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """ONNX Conv. x [N, C, ...], weight [M, C / group, ...] with its channels on axis 0.

    Padding is the input's zero point. `auto_pad` must have been turned into `pads`.
    """
    left, right = as_quantized(inputs[0], 0), _weight(inputs, weight)
    spatial = left.data.ndim - 2
    window = _Window.of(attributes, spatial)
    padded = np.pad(left.centred, [(0, 0), (0, 0), *window.pads])
    sums = _correlate(padded, right.centred, window.strides, window.dilations, window.group)
    return finish(sums, left.params, right.params, bias, output, -1 - spatial)


def conv_transpose(
    attributes: Attributes,
    inputs: Sequence[Operand],
    weight: QuantizedOperand | None,
    bias: Array | None,
    output: QParams | None,
) -> Array:
    """ONNX ConvTranspose. x [N, C, ...], weight [C, M / group, ...], channels on axis 1.

    A convolution of the input, spread out by the stride, with the flipped weight.
    """
    left, right = as_quantized(inputs[0], 0), _weight(inputs, weight)
    spatial = left.data.ndim - 2
    window = _Window.of(attributes, spatial)
    extra = integers(attributes, "output_padding", [0] * spatial)
    if "output_shape" in attributes:
        raise ConfigurationError("output_shape must be turned into pads first")
    spread = _spread_out(left.centred, window.strides)
    kernel = _flip(right.centred, window.group)
    reach = [d * (k - 1) for d, k in zip(window.dilations, kernel.shape[2:], strict=True)]
    margins = [
        (r - low, r - high + more)
        for r, (low, high), more in zip(reach, window.pads, extra, strict=True)
    ]
    padded = _crop_or_pad(spread, margins)
    sums = _correlate(padded, kernel, (1,) * spatial, window.dilations, window.group)
    return finish(sums, left.params, right.params, bias, output, -1 - spatial)


@dataclass(frozen=True)
class _Window:
    """Strides, dilations, pads (before, after) and group of a convolution."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    group: int

    @classmethod
    def of(cls, attributes: Attributes, spatial: int) -> _Window:
        """Reads the attributes, with ONNX's defaults."""
        if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID", b"NOTSET", b"VALID"):
            raise ConfigurationError("auto_pad must be turned into pads first")
        pads = integers(attributes, "pads", [0] * (2 * spatial))
        return cls(
            integers(attributes, "strides", [1] * spatial),
            integers(attributes, "dilations", [1] * spatial),
            tuple(zip(pads[:spatial], pads[spatial:], strict=True)),
            int(attributes.get("group", 1)),
        )


def _weight(inputs: Sequence[Operand], weight: QuantizedOperand | None) -> QuantizedOperand:
    return weight if weight is not None else as_quantized(inputs[1], 1)


def _correlate(
    padded: Floats,
    kernel: Floats,
    strides: Sequence[int],
    dilations: Sequence[int],
    group: int,
) -> Floats:
    """Exact sums: float64 holds every integer below 2**53, in any order of addition."""
    batch, channels = padded.shape[:2]
    spatial = padded.ndim - 2
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilations, kernel.shape[2:], strict=True))
    axes = tuple(range(2, 2 + spatial))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axes)
    steps = [slice(None, None, s) for s in strides] + [slice(None, None, d) for d in dilations]
    windows = windows[(slice(None), slice(None), *steps)]
    out = windows.shape[2 : 2 + spatial]
    # [N, C, *out, *kernel] -> [N, group, C / group * kernel, out]
    order = (0, 1, *range(2 + spatial, 2 + 2 * spatial), *axes)
    if kernel.shape[1] * group != channels:
        raise ConfigurationError(f"weight {kernel.shape} does not fit {channels} channels")
    summed = int(np.prod(kernel.shape[1:]))  # no -1: there may be no samples
    columns = windows.transpose(order).reshape(batch, group, summed, int(np.prod(out)))
    rows = kernel.reshape(group, kernel.shape[0] // group, summed)
    return np.asarray(np.matmul(rows, columns).reshape(batch, kernel.shape[0], *out))


def _spread_out(values: Floats, strides: Sequence[int]) -> Floats:
    """Zeros between the elements of the spatial axes."""
    shape = [(n - 1) * s + 1 for n, s in zip(values.shape[2:], strides, strict=True)]
    result = np.zeros((*values.shape[:2], *shape))
    result[(slice(None), slice(None), *(slice(None, None, s) for s in strides))] = values
    return result


def _flip(kernel: Floats, group: int) -> Floats:
    """[C, M / group, ...] to [M, C / group, ...] with the spatial axes reversed."""
    spatial = tuple(range(2, kernel.ndim))
    split = kernel.reshape(group, kernel.shape[0] // group, *kernel.shape[1:])
    swapped = np.swapaxes(split, 1, 2).reshape(-1, split.shape[1], *kernel.shape[2:])
    return np.asarray(np.flip(swapped, spatial))


def _crop_or_pad(values: Floats, margins: Sequence[tuple[int, int]]) -> Floats:
    """Pads each spatial axis by its margins; negative margins cut off."""
    grown = [(max(low, 0), max(high, 0)) for low, high in margins]
    padded = np.pad(values, [(0, 0), (0, 0), *grown])
    cuts = [
        slice(max(-low, 0), size - max(-high, 0))
        for (low, high), size in zip(margins, padded.shape[2:], strict=True)
    ]
    return np.asarray(padded[(slice(None), slice(None), *cuts)])
