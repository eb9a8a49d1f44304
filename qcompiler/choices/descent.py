"""Coordinate descent over blocks of neighbours: which alternative suits which item.

All items begin with one alternative. Blocks of neighbours try the others together; a block keeps
what lowers the loss, and is halved as long as what it tried moved the loss, the largest movement
first. So a few items that matter are found in about 2 log2(items) looks, and items that do not
matter cost one look per block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from qcompiler.measurement.gain import Look, Margin

Choice = tuple[int, ...]
"""Number of the alternative of every item."""


Measure = Callable[[Sequence[Choice]], Sequence[Look]]


@dataclass(eq=False)
class Descent:
    """The state of a descent; `run` gives the choice.

    Attributes:
        alternatives: For every item, the alternatives that differ from each other, the first of
            them being what it begins with.
        measure: Losses of some choices; may run them side by side.
        limit: Most looks.
        margin: When a change counts.
    """

    alternatives: Sequence[Sequence[int]]
    measure: Measure
    limit: int
    margin: Margin = field(default_factory=Margin)
    looks: int = 0
    _pending: list[tuple[float, tuple[int, ...]]] = field(default_factory=list)

    def run(self, start: Choice, known: Look) -> tuple[Choice, Look]:
        """The best choice found from `start` on, whose loss is `known`."""
        items = [i for i, each in enumerate(self.alternatives) if len(each) > 1]
        others = max((len(self.alternatives[i]) - 1 for i in items), default=0)
        size = max(1, math.ceil(2 * len(items) * max(others, 1) / max(self.limit, 1)))
        blocks = [tuple(items[i : i + size]) for i in range(0, len(items), size)]
        self._pending = [(math.inf, block) for block in blocks]
        choice, best = start, known
        while self._pending and self.looks < self.limit:
            self._pending.sort(key=lambda each: (-each[0], each[1]))
            _, block = self._pending.pop(0)
            choice, best, moved = self._tried(block, choice, best)
            if len(block) > 1 and moved > self.margin.share * best.loss:
                middle = len(block) // 2
                self._pending += [(moved, block[:middle]), (moved, block[middle:])]
        return choice, best

    def _tried(
        self, block: Sequence[int], choice: Choice, best: Look
    ) -> tuple[Choice, Look, float]:
        """The better choice after a block's alternatives, and how far they moved the loss."""
        numbers = dict.fromkeys(n for i in block for n in self.alternatives[i])
        trials = [_changed(choice, block, n, self.alternatives) for n in numbers]
        trials = [each for each in dict.fromkeys(trials) if each != choice]
        found = self.measure(trials)
        self.looks += len(trials)
        moved = max((abs(look.loss - best.loss) for look in found), default=0.0)
        for trial, look in sorted(zip(trials, found, strict=True), key=lambda each: each[1].loss):
            if self.margin.better(look, best):
                return trial, look, moved
        return choice, best, moved


def _changed(
    choice: Choice, block: Sequence[int], number: int, alternatives: Sequence[Sequence[int]]
) -> Choice:
    """The choice with the items of a block at an alternative, where they have it."""
    changed = list(choice)
    for item in block:
        if number in alternatives[item]:
            changed[item] = number
    return tuple(changed)
