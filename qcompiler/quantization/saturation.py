"""Where int16 pair sums saturate: u8 x s8 kernels on x86 without VNNI (T2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

INT16_MAX = 32767


def pair_saturation(
    weight: npt.NDArray[Any], xmax: int = 255, *, axis: int = 0, adjacent: bool = True
) -> npt.NDArray[np.bool_]:
    """Per output channel, whether a pair of products can leave int16.

    `vpmaddubsw` adds two products u8 * s8 in int16 with saturation (Intel SDM; FBGEMM issue 125,
    ORT issues 5849 and 6004). Activations are in [0, xmax], so the worst case of a pair is
    (|w1| + |w2|) * xmax for weights of one sign, and the larger one alone for opposite signs.

    Args:
        weight: Integers; `axis` holds the output channels, the rest is the reduction in the order
            the kernel walks it.
        xmax: Largest unsigned activation (127 when activations use 7 bits).
        axis: Output channel axis.
        adjacent: Pair elements 0-1, 2-3, ... If False, any two may meet: use it when the kernel's
            order is not known.

    Returns:
        bool [channels], True where saturation is possible.
    """
    rows = np.moveaxis(np.asarray(weight), axis, 0)
    rows = rows.reshape(rows.shape[0], -1).astype(np.int64)
    above = _worst_pair(np.maximum(rows, 0), adjacent) * xmax > INT16_MAX
    below = _worst_pair(np.maximum(-rows, 0), adjacent) * xmax > INT16_MAX + 1
    return np.asarray(above | below)


def _worst_pair(magnitudes: npt.NDArray[np.int64], adjacent: bool) -> npt.NDArray[np.int64]:
    """Largest sum of a pair per row; an odd last element is alone."""
    padded = np.pad(magnitudes, ((0, 0), (0, magnitudes.shape[1] % 2)))
    if padded.shape[1] == 0:
        return np.zeros(padded.shape[0], np.int64)
    if not adjacent:
        padded = np.sort(padded, axis=1)[:, -2:]
    return np.asarray((padded[:, 0::2] + padded[:, 1::2]).max(axis=1))
