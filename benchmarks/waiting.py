"""Waiting for a child without counting the time in which it could not run."""

from __future__ import annotations

import select
import time
from pathlib import Path

from qcompiler.execution.crowding import waited_by

_STEP = 0.5


def waited(source: int, longest: float, child: int) -> tuple[bool, float]:
    """Whether a descriptor can be read within so many seconds of a child, and those seconds.

    Time in which the child was ready and had no core is not counted. A step that takes much longer
    than it was asked to is one in which this process did not run either: the machine slept, or a
    shell had stopped the whole group. It counts for twice its length at most.
    """
    folder = Path(f"/proc/{child}")
    spent, delayed = 0.0, waited_by(folder)
    while spent < longest:
        started = time.monotonic()
        ready = bool(select.select([source], [], [], _STEP)[0])
        passed, before, delayed = time.monotonic() - started, delayed, waited_by(folder)
        spent += max(0.0, min(passed - (delayed - before), 2 * _STEP))
        if ready:
            return True, spent
    return False, spent
