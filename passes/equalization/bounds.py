"""How far scales may go where values pass a Clip with a bound other than 0.

min(x, c) of x = s·x' is s·min(x', c/s). With one bound c for all channels that is exact where x
reaches c and s = 1, and where neither x reaches c nor x' does. So a channel that saturates keeps
its scale; another may grow until it nearly would.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.passes.equalization.analysis import Scales
from qcompiler.passes.equalization.constraints import Clamp
from qcompiler.passes.equalization.observed import Seen

Array = npt.NDArray[Any]

MARGIN = 1.1
"""Room above what calibration saw of a channel, as unseen data goes further."""


def log_bounds(found: Scales, seen: Seen) -> tuple[Array, Array]:
    """float64 [components] each: lowest and highest logarithm of the scales that keep the function.

    Exact on the data that was calibrated on. A clamp that was not observed fixes its channels.
    """
    low = np.full(found.freedom.count, -np.inf)
    high = np.full(found.freedom.count, np.inf)
    for clamp in found.clamps:
        least, most = _of_clamp(clamp, seen)
        slots = clamp.slots.reshape(-1)
        component, exponent = found.freedom.component[slots], found.freedom.exponent[slots]
        turned = exponent < 0
        least, most = np.where(turned, -most, least), np.where(turned, -least, most)
        np.maximum.at(low, component, least / np.abs(exponent))
        np.minimum.at(high, component, most / np.abs(exponent))
    low[0] = high[0] = 0.0
    return low, high


def _of_clamp(clamp: Clamp, seen: Seen) -> tuple[Array, Array]:
    """Bounds of the logarithms by slot of the clamp."""
    count = clamp.slots.size
    fixed = np.zeros(count), np.zeros(count)
    axes = [axis for axis, size in enumerate(clamp.slots.shape) if size != 1]
    extremes = seen.extremes(clamp.value.name or "", axes[0]) if len(axes) == 1 else None
    if extremes is None or extremes[0].size != count:
        return fixed
    reach = np.zeros(count)
    for found, bound in ((extremes[1], clamp.high), (-extremes[0], -clamp.low)):
        if np.isfinite(bound) and bound > 0:
            reach = np.maximum(reach, found / bound)
    saturated = reach >= 1
    with np.errstate(divide="ignore"):
        least = np.where(saturated, 0.0, np.minimum(np.log(np.maximum(reach, 0) * MARGIN), 0.0))
    return least, np.where(saturated, 0.0, np.inf)
