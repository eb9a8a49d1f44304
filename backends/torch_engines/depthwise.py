"""Depthwise 3x3 as groups of four channels: fbgemm's grouped kernel is exact where its own is not.

fbgemm's depthwise kernel sums pairs of products in int16 (fault B1). Written as a grouped
convolution with four channels per group, three of them with zero weights, the same layer runs on
the grouped 3x3 kernel: exact over the full 8-bit range, with and without VNNI (no pair has two
weights), in 0.6-1.2 of the time (measured, docs/torch-engines.md). Other kernel sizes fall off that
kernel and take a hundred times as long, so they keep 7-bit weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qcompiler.backends.torch_engines.faults import MIXED_GROUPS
from qcompiler.lowering.torch_fx.constants import Array

CHANNELS_PER_GROUP = 4
_CHANNELS = 16
"""The grouped kernel takes its groups four at a time."""


def can_regroup(
    engine: str,
    shape: Sequence[int],
    groups: int,
    strides: Sequence[int],
    dilations: Sequence[int],
) -> bool:
    """Whether a depthwise weight [channels, 1, 3, 3] may run as groups of four.

    Args:
        engine: Engine name.
        shape: Of the weight.
        groups: Of the convolution.
        strides: Per axis; empty means 1.
        dilations: Per axis; empty means 1.
    """
    return (
        (engine == "fbgemm" or (engine == "x86" and groups // CHANNELS_PER_GROUP > MIXED_GROUPS))
        and tuple(shape) == (groups, 1, 3, 3)
        and groups % _CHANNELS == 0
        and set(strides) in (set(), {1}, {2})
        and set(dilations) <= {1}
    )


@dataclass(frozen=True)
class Margins:
    """How a convolution is run with the padding its fast kernel wants, and cut to its own.

    Attributes:
        before: Explicit [begin..., end...] pads of the input.
        padding: The kernel's own padding.
        first: Leading outputs to drop, per axis.
        pads: The [begin..., end...] pads meant.
        kernel: Taps per axis.
        strides: Steps per axis.
    """

    before: tuple[int, ...]
    padding: tuple[int, ...]
    first: tuple[int, ...]
    pads: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]


def centred_margins(
    kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int]
) -> Margins | None:
    """Margins that give a depthwise layer the padding (k - 1) / 2; None when it has that already.

    fbgemm's depthwise kernels take only that padding; with another one (TensorFlow's SAME, VALID)
    it runs channel by channel, two hundred times slower. With begin pad b, own padding p and
    stride s, the input is padded by e = b + s t - p for the smallest t that makes e >= 0; then
    output i of the layer is output i + t of the kernel.
    """
    rank = len(kernel)
    own = [(k - 1) // 2 for k in kernel]
    if list(pads) == own * 2 or any(k % 2 == 0 for k in kernel):
        return None
    first = [max(-(-(p - b) // s), 0) for p, b, s in zip(own, pads[:rank], strides, strict=True)]
    begin = [b + s * t - p for b, s, t, p in zip(pads[:rank], strides, first, own, strict=True)]
    end = [max(b - p, 0) for b, p in zip(pads[rank:], own, strict=True)]
    groups = (begin + end, own, first, pads, kernel, strides)
    return Margins(*(tuple(each) for each in groups))


def regroup(values: Array) -> Array:
    """[channels, 1, 3, 3] as [channels, 4, 3, 3] with zeros for the neighbours."""
    channels = values.shape[0]
    spread = np.zeros((channels, CHANNELS_PER_GROUP, *values.shape[2:]), values.dtype)
    rows = np.arange(channels)
    spread[rows, rows % CHANNELS_PER_GROUP] = values[:, 0]
    return spread
