"""Pads of sliding windows as ONNX gives them: explicit, by `auto_pad`, by an output shape."""

from __future__ import annotations

import math
from collections.abc import Sequence


def window_pads(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: str,
) -> list[int]:
    """[begin..., end...] pads; SAME gives ceil(size / stride) outputs (ONNX Conv, `auto_pad`)."""
    rank = len(kernel)
    if auto_pad in ("NOTSET", ""):
        return list(pads or [0] * 2 * rank)
    if auto_pad == "VALID":
        return [0] * 2 * rank
    totals = [
        max((math.ceil(size / stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    return _shares(totals, auto_pad)


def _shares(totals: Sequence[int], auto_pad: str) -> list[int]:
    """[begin..., end...]; the odd cell lies at the begin for SAME_LOWER, else at the end."""
    begin = [t - t // 2 if auto_pad == "SAME_LOWER" else t // 2 for t in totals]
    return begin + [t - first for t, first in zip(totals, begin, strict=True)]


def transposed_cut(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    output_padding: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: str,
    output_shape: Sequence[int] | None,
) -> list[int]:
    """[begin..., end...] cells that ConvTranspose takes off its full result.

    With an output shape the odd cell lies at the end for SAME_UPPER only (ONNX ConvTranspose-22).
    """
    rank = len(kernel)
    same = auto_pad.startswith("SAME")
    if not output_shape and not same:
        return [0] * 2 * rank if auto_pad == "VALID" else list(pads or [0] * 2 * rank)
    steps = zip(sizes, strides, output_padding, kernel, dilations, strict=True)
    full = [(size - 1) * s + more + (k - 1) * d + 1 for size, s, more, k, d in steps]
    wanted = list(output_shape or [size * s for size, s in zip(sizes, strides, strict=True)])
    totals = [f - n for f, n in zip(full, wanted[-rank:], strict=True)]
    shared = _shares([max(t, 0) for t in totals], auto_pad if same else "SAME_LOWER")
    spare = [min(t, 0) for t in totals]  # what is asked for beyond the full result: at the end
    return shared[:rank] + [e + t for e, t in zip(shared[rank:], spare, strict=True)]
