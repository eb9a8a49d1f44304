"""Seconds of work: on a busy machine, or while a process stands still, fewer than have passed."""

from __future__ import annotations

import time


class Stopwatch:
    """Counts from when it was made; a call tells the seconds so far.

    That is what has passed, or the processor time of all threads where that is less: then threads
    waited for a core. So what is done within some seconds of work does not depend on neighbours.
    Work of other processes is not seen.
    """

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._worked = time.process_time()

    def __call__(self) -> float:
        return min(time.monotonic() - self._begun, time.process_time() - self._worked)
