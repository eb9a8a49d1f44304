"""`PlainProgress`: lines on standard error where that is no terminal, as in the log of a CI."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

from qcompiler.printable import one_line
from qcompiler.report.rate import show_done

_EVERY = 10.0
"""Seconds of a step until it is told of, and between two lines."""


class PlainProgress:
    """Says how far a step is that takes long; carries out `qcompiler.pipeline.contract.Progress`.

    A step of less than ten seconds is not mentioned.

    Args:
        clock: Seconds, monotonic.
        write: Takes a line; standard error by default.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], object] | None = None,
    ) -> None:
        self._clock = clock
        self._write = write or _complain
        self._task, self._done, self._total = "", 0, None  # type: str, int, int | None
        self._started = self._told = 0.0

    def start(self, task: str, total: int | None) -> None:
        self._task, self._done, self._total = task, 0, total
        self._started = self._told = self._clock()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._done += amount
        now = self._clock()
        if now - self._told < _EVERY:
            return
        self._told = now
        parts = (show_done(self._done, self._total, now - self._started), note)
        self._write(one_line(f"{self._task}: {', '.join(part for part in parts if part)}"))

    def finish(self) -> None:
        return None


def _complain(line: str) -> None:
    """Progress is no reason to fail where nobody reads it."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
