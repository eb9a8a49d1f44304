"""Signal processing: window functions, Fourier transforms, mel filters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qcompiler.lowering.torch_fx.element_types import torch_dtype
from qcompiler.lowering.torch_fx.ops.operands import Ints, integer

_FLOAT = 1
"""ONNX's number of float32."""


def _cosines(size: Ints, factors: tuple[float, ...], periodic: int, dtype: int) -> Tensor:
    count = integer(size)
    steps = count if periodic else count - 1
    angle = torch.arange(count, dtype=torch.float32) * (2 * math.pi / steps)
    total = torch.zeros(count)
    for order, factor in enumerate(factors):
        total = total + (-1) ** order * factor * torch.cos(order * angle)
    return total.to(torch_dtype(dtype))


def hann_window(size: Ints, *, output_datatype: int = _FLOAT, periodic: int = 1) -> Tensor:
    """HannWindow."""
    return _cosines(size, (0.5, 0.5), periodic, output_datatype)


def hamming_window(size: Ints, *, output_datatype: int = _FLOAT, periodic: int = 1) -> Tensor:
    """HammingWindow, with ONNX's 25/46."""
    return _cosines(size, (25 / 46, 21 / 46), periodic, output_datatype)


def blackman_window(size: Ints, *, output_datatype: int = _FLOAT, periodic: int = 1) -> Tensor:
    """BlackmanWindow."""
    return _cosines(size, (0.42, 0.5, 0.08), periodic, output_datatype)


def _complex(x: Tensor) -> Tensor:
    """[..., 1 or 2] as complex numbers [...]."""
    return torch.complex(x[..., 0], x[..., 1] if x.shape[-1] == 2 else torch.zeros_like(x[..., 0]))


def dft(
    x: Tensor,
    length: Ints | None = None,
    axis: Ints | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    """DFT over one axis of [..., 1 or 2] (opset 20); one-sided inverse gives real numbers."""
    along = -2 if axis is None else integer(axis)
    along = along % x.dim()
    count = None if length is None else integer(length)
    values = _complex(x)
    if inverse and onesided:
        real: Tensor = torch.fft.irfft(values, n=count, dim=along)
        return real.unsqueeze(-1)
    transform = torch.fft.ifft if inverse else torch.fft.fft
    found: Tensor = transform(values, n=count, dim=along)
    if onesided:
        found = found.narrow(along, 0, found.shape[along] // 2 + 1)
    return torch.view_as_real(found)


def stft(
    x: Tensor,
    step: Ints,
    window: Tensor | None = None,
    length: Ints | None = None,
    *,
    onesided: int = 1,
) -> Tensor:
    """STFT: [batch, samples, 1 or 2] to [batch, frames, bins, 2]; frames are not padded."""
    if length is None:
        assert window is not None
        size = window.shape[0]
    else:
        size = integer(length)
    values = (_complex(x) if x.dim() == 3 else x).unfold(1, size, integer(step))
    if window is not None:
        values = values * window
    found = torch.fft.fft(values, dim=-1)
    bins = size // 2 + 1 if onesided else size
    return torch.view_as_real(found[..., :bins].contiguous())


def mel_weight_matrix(
    bins: Ints,
    length: Ints,
    rate: Ints,
    low: Tensor,
    high: Tensor,
    *,
    output_datatype: int = _FLOAT,
) -> Tensor:
    """MelWeightMatrix [length / 2 + 1, bins]; centres are whole spectrogram bins."""
    count, size = integer(bins), integer(length)
    ends = [2595.0 * math.log10(1.0 + float(edge) / 700.0) for edge in (low, high)]
    step = (ends[1] - ends[0]) / (count + 2)
    mels = [ends[0] + step * i for i in range(count + 2)]
    hertz = [700.0 * (10.0 ** (mel / 2595.0) - 1.0) for mel in mels]
    centre = [int((size + 1) * each // integer(rate)) for each in hertz]
    found = torch.zeros(size // 2 + 1, count)
    for i in range(count):
        first, middle, last = centre[i : i + 3]
        if middle == first:
            found[middle, i] = 1.0
        else:
            for j in range(first, middle + 1):
                found[j, i] = (j - first) / (middle - first)
        for j in range(middle, max(middle, last)):
            found[j, i] = (last - j) / (last - middle)
    return found.to(torch_dtype(output_datatype))
