"""Kept feeds divided: some to judge candidates by, others to fit corrections to."""

from __future__ import annotations

from collections.abc import Sequence

from qcompiler.calibration.keeper import Keeper
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed

_JUDGE_ELEMENTS = 200_000_000
"""Activations that judging one candidate may compute: about a third of a second on two cores."""
_LEAST_DIVIDED = 4
"""Fewest feeds on each side when they are divided."""


def divided(
    keeper: Keeper, program: Program, least: int
) -> tuple[tuple[Feed, ...], tuple[Feed, ...]]:
    """The kept feeds: those to judge by, and others to fit corrections to.

    As many judge as are cheap to run, at least `least`, evenly spread. That is counted in elements
    that calibration saw, not in seconds, so that the choice is the same on every machine. A few
    feeds are too few to divide: then the same ones serve for both.
    """
    kept = keeper.kept
    seen = sum(observer.count for observer in program.observations.values())
    per_feed = max(1, seen // max(1, keeper.seen))
    wanted = max(least, _JUDGE_ELEMENTS // per_feed)
    if len(kept) < 2 * _LEAST_DIVIDED:
        return tuple(kept[:wanted]), tuple(kept[:wanted])
    return _spread(kept[0::2], wanted), _spread(kept[1::2], wanted)


def _spread(feeds: Sequence[Feed], wanted: int) -> tuple[Feed, ...]:
    """At most `wanted` of the feeds, evenly spread."""
    count = min(len(feeds), wanted)
    return tuple(feeds[i * len(feeds) // count] for i in range(count))
