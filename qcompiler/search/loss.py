"""Loss of a compiled program against float: noise-to-signal ratio of the outputs.

NSR = sum (y - q)^2 / sum y^2 over the samples, averaged over the float outputs; SQNR in dB is
-10 log10(NSR). Noise of independent quantization errors adds up in it, which is what the search
builds on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.ir.signature import Feed

Array = npt.NDArray[Any]
Run = Callable[[Feed], Sequence[Any]]


def noise_to_signal(reference: Sequence[Sequence[Any]], measured: Sequence[Sequence[Any]]) -> float:
    """Mean NSR of the float outputs over samples; 0 for equality, inf when shapes or NaNs differ.

    Args:
        reference: Outputs per sample, as float computes them.
        measured: The same of the compiled program.
    """
    ratios = []
    for position in range(len(reference[0]) if reference else 0):
        pairs = [(a[position], b[position]) for a, b in zip(reference, measured, strict=True)]
        if not isinstance(pairs[0][0], np.ndarray) or pairs[0][0].dtype.kind != "f":
            continue
        ratios.append(_ratio(pairs))
    return float(np.mean(ratios)) if ratios else 0.0


def _ratio(pairs: Sequence[tuple[Array, Array]]) -> float:
    signal = noise = 0.0
    for wanted, got in pairs:
        if wanted.shape != got.shape:
            return math.inf
        finite = np.isfinite(wanted)
        if not np.array_equal(finite, np.isfinite(got)):
            return math.inf
        y, q = wanted[finite].astype(np.float64), got[finite].astype(np.float64)
        signal += float(np.square(y).sum())
        noise += float(np.square(y - q).sum())
    if noise == 0:
        return 0.0
    return noise / signal if signal > 0 else math.inf


def sqnr_db(ratio: float) -> float:
    """Signal-to-noise ratio in dB; inf for no noise."""
    return math.inf if ratio <= 0 else -10 * math.log10(ratio)


class Judge:
    """Measures candidates on kept samples; the float outputs are computed once.

    Attributes:
        feeds: The samples.
    """

    def __init__(self, feeds: Sequence[Feed], float_run: Run) -> None:
        self.feeds = list(feeds)
        self._reference = [list(float_run(feed)) for feed in self.feeds]

    def loss(self, run: Run) -> float:
        """NSR of a candidate over all samples."""
        return noise_to_signal(self._reference, [list(run(feed)) for feed in self.feeds])
