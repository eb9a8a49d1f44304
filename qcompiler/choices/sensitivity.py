"""Sensitivity: how much loss each quantization adds by itself.

Where the number of probes allows it, each is measured alone. Otherwise by group testing: sets of
neighbours are switched on together and split in halves as long as the set's loss matters, so a
network with a few fragile spots is understood in about 2 log2(gates) probes per spot. The loss of
a set too small to matter is shared equally among its members. The order of probes depends on
measured losses alone, so it is the same for any number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from qcompiler.measurement.gate import Gate

Item = TypeVar("Item")
BATCH = 4
"""Sets that are split at a time, so that eight probes may run side by side."""

FLOOR = 1 / 64
"""Share of the allowed loss below which a set needs no closer look."""

_SMALLEST = 8
"""Gates of a set to begin with, at least."""

LEAST = 24
"""Probes below which a soft deadline does not count: fewer say next to nothing."""


@dataclass
class Sensitivity(Generic[Item]):
    """Loss by item.

    Attributes:
        losses: Loss that each item adds.
        probes: How many sets were measured.
        complete: False when the limit ended the splitting early.
    """

    losses: dict[Item, float] = field(default_factory=dict)
    probes: int = 0
    complete: bool = True


def measure_sensitivity(
    gates: Sequence[Gate],
    measure: Callable[[Sequence[Sequence[Gate]]], Sequence[float]],
    floor: float,
    limit: int,
    expired: Callable[[], bool] = lambda: False,
    least: int = LEAST,
) -> Sensitivity[Gate]:
    """Losses of all gates in at most about `limit` probes.

    Args:
        gates: In graph order.
        measure: Losses of some sets; may run them side by side.
        floor: Loss of a set that needs no closer look.
        limit: Most probes.
        expired: Whether to stop; what is left shares its set's loss.
        least: Probes that are made in any case.
    """
    if len(gates) <= limit:
        return measure_each(gates, measure, expired, least)
    return split_groups(gate_groups(gates, limit), measure, floor, limit, expired, least)


def measure_each(
    items: Sequence[Item],
    measure: Callable[[Sequence[Sequence[Item]]], Sequence[float]],
    expired: Callable[[], bool] = lambda: False,
    least: int = LEAST,
) -> Sensitivity[Item]:
    """Every item by itself; those left when the time is over in one set."""
    found: Sensitivity[Item] = Sensitivity()
    left = list(items)
    while left and not (found.probes >= least and expired()):
        batch, left = left[: 2 * BATCH], left[2 * BATCH :]
        found.losses.update(zip(batch, measure([[item] for item in batch]), strict=True))
        found.probes += len(batch)
    if left:
        found.losses.update(_shared(left, measure([left])[0]))
        found.probes += 1
        found.complete = False
    return found


def split_groups(
    groups: Sequence[Sequence[Item]],
    measure: Callable[[Sequence[Sequence[Item]]], Sequence[float]],
    floor: float,
    limit: int,
    expired: Callable[[], bool] = lambda: False,
    least: int = LEAST,
) -> Sensitivity[Item]:
    """Splits the groups until each set's loss is below `floor`, or it is single.

    Args:
        groups: Sets to begin with; items in graph order.
        measure: Losses of some sets; may run them side by side.
        floor: Loss of a set that needs no closer look.
        limit: Most probes.
        expired: Whether to stop splitting; what is left shares its set's loss.
        least: Probes that are made in any case.
    """
    found: Sensitivity[Item] = Sensitivity()
    start = [list(group) for group in groups if group]
    pending = list(zip(start, measure(start), strict=True))
    found.probes = len(start)
    while pending:
        # The worst first, so that the limit costs the least.
        pending.sort(key=lambda item: -_rank(item[1]))
        open_ = [item for item in pending if len(item[0]) > 1 and not item[1] <= floor][:BATCH]
        late = found.probes >= least and expired()
        if not open_ or found.probes + 2 * len(open_) > limit or late:
            found.complete = not open_
            break
        pending = [item for item in pending if all(item is not each for each in open_)]
        halves = [half for group, _ in open_ for half in _halves(group)]
        found.probes += len(halves)
        pending += zip(halves, measure(halves), strict=True)
    for group, loss in pending:
        found.losses.update(_shared(group, loss))
    return found


def gate_groups(gates: Sequence[Gate], limit: int) -> list[list[Gate]]:
    """Sets to begin with: neighbours of one kind (values, dynamic ones, weights by space).

    About a quarter of the probes goes to these sets. Sensitivities are asked for when the whole
    is too lossy, so halving from the whole would spend them on what is known.

    Args:
        gates: In graph order.
        limit: Most probes.
    """
    size = max(_SMALLEST, math.ceil(4 * len(gates) / max(limit, 1)))
    groups = []
    for kind, space in dict.fromkeys((gate.kind, gate.space) for gate in gates):
        alike = [gate for gate in gates if (gate.kind, gate.space) == (kind, space)]
        groups += in_groups(alike, size)
    return groups


def in_groups(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Neighbours together, at most `size` of them."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _rank(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss


def _halves(group: list[Item]) -> tuple[list[Item], list[Item]]:
    middle = len(group) // 2
    return group[:middle], group[middle:]


def _shared(group: Sequence[Item], loss: float) -> Mapping[Item, float]:
    share = loss / len(group) if math.isfinite(loss) else loss
    return dict.fromkeys(group, share)
