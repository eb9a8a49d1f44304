"""`Pace`: how fast the machine is at the moment, by a run that stays the same.

Profiles of candidates are taken minutes apart on a machine that does other things too. Each is
scaled by what the float model took just before it, so that only ratios enter the search.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from qcompiler.execution.timing import fastest
from qcompiler.ir.signature import Feed
from qcompiler.target.artifact import Artifact

_REPEATS = 3
_FEEDS = 2


@dataclass(eq=False)
class Pace:
    """Speed of the machine relative to when it was asked for first.

    Attributes:
        reference: Makes what is run, the same all the time; on one thread, as profiles are taken.
        feeds: What it is run on.
        clock: Seconds, monotonic.
    """

    reference: Callable[[], Artifact]
    feeds: Sequence[Feed]
    clock: Callable[[], float] = time.perf_counter
    _artifact: Artifact | None = None
    _first: float | None = None

    def factor(self) -> float:
        """Seconds of the reference at first / seconds now; multiplies what is measured now."""
        if self._artifact is None:
            self._artifact = self.reference()
        run = self._artifact.run
        now = sum(fastest(partial(run, feed), _REPEATS, self.clock) for feed in self.feeds[:_FEEDS])
        if self._first is None:
            self._first = now
        return self._first / now if now > 0 else 1.0
