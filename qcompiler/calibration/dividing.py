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
    keeper: Keeper, program: Program, least: int, fitting: int = 0
) -> tuple[tuple[Feed, ...], tuple[Feed, ...]]:
    """The kept feeds: those to judge by, and others to fit corrections to.

    As many judge as are cheap to run, at least `least` and at most half, evenly spread. That is
    counted in elements that calibration saw, not in seconds, so that the choice is the same on
    every machine; where nothing was observed, `least` of them judge. As many others are fitted to,
    or `fitting` of them where that is more. A few feeds are too few to divide: then the same ones
    serve for both.
    """
    kept = keeper.kept
    seen = sum(observer.count for observer in program.observations.values())
    per_feed = max(1, seen // max(1, keeper.seen))
    wanted = max(least, _JUDGE_ELEMENTS // per_feed) if seen else least
    if len(kept) < 2 * _LEAST_DIVIDED:
        return tuple(kept[:wanted]), tuple(kept[:wanted])
    judging = spread(kept[0::2], wanted)
    judged = {id(each) for each in judging}
    others = kept[1::2] if fitting <= wanted else [each for each in kept if id(each) not in judged]
    return judging, spread(others, max(wanted, fitting))


def spread(feeds: Sequence[Feed], wanted: int) -> tuple[Feed, ...]:
    """At most `wanted` of the feeds, evenly spread."""
    count = min(len(feeds), wanted)
    return tuple(feeds[i * len(feeds) // count] for i in range(count))
