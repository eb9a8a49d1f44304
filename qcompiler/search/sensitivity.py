"""Sensitivity: how much loss each region adds when it is quantized, measured on the engine.

Groups of neighbouring regions are quantized together and split in halves as long as the group's
loss matters (group testing): a network with a few fragile regions is understood in about
2 log2(regions) runs per fragile region instead of one per region. Losses of groups too small to
matter are shared equally among their regions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Measure = Callable[[Sequence[str]], float]
"""Loss when exactly these regions are quantized."""


@dataclass
class Sensitivity:
    """Loss by region key.

    Attributes:
        losses: Loss that each region adds.
        probes: How many groups were measured.
        complete: False when the deadline ended the splitting early.
    """

    losses: dict[str, float] = field(default_factory=dict)
    probes: int = 0
    complete: bool = True


def measure_sensitivity(
    regions: Sequence[str],
    whole: float,
    measure: Measure,
    floor: float,
    expired: Callable[[], bool],
) -> Sensitivity:
    """Splits `regions` (in graph order) until every group's loss is below `floor` or single.

    Args:
        regions: Keys of the regions that are quantized in the plan under study.
        whole: Loss with all of them quantized.
        measure: Runs one group.
        floor: Loss of a group that needs no closer look.
        expired: Whether to stop splitting; what is left shares its group's loss.
    """
    found = Sensitivity()
    pending = [(list(regions), whole)]
    while pending:
        # The worst group first, so that a deadline costs the least.
        pending.sort(key=lambda item: item[1])
        group, loss = pending.pop()
        if len(group) <= 1 or loss <= floor or expired():
            found.complete &= len(group) <= 1 or loss <= floor
            found.losses.update(_shared(group, loss))
            continue
        middle = len(group) // 2
        for half in (group[:middle], group[middle:]):
            found.probes += 1
            pending.append((half, measure(half)))
    return found


def _shared(group: Sequence[str], loss: float) -> Mapping[str, float]:
    if not group:
        return {}
    share = loss / len(group) if math.isfinite(loss) else loss
    return dict.fromkeys(group, share)
