"""`NotebookProgress`: a bar with rate and remaining time in a notebook's output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from qcompiler.markup import text
from qcompiler.report.rate import show_done

_EVERY = 0.25
"""Least seconds between two updates."""


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook. Nothing is imported to find that out."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class NotebookProgress:
    """Shows long steps as they go; carries out `qcompiler.pipeline.contract.Progress`.

    One line of the output that is replaced, and is empty in the end.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._place: Any = None
        self._task, self._note = "", ""
        self._done, self._total = 0, None  # type: int, int | None
        self._started = self._shown = 0.0

    def start(self, task: str, total: int | None) -> None:
        self._task, self._note, self._done, self._total = task, "", 0, total
        self._started = self._clock()
        self._show()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._done += amount
        self._note = note or self._note
        if self._clock() - self._shown >= _EVERY:
            self._show()

    def finish(self) -> None:
        self._write("")

    def _show(self) -> None:
        self._shown = self._clock()
        told = show_done(self._done, self._total, self._shown - self._started)
        bar = ""
        if self._total:
            bar = (
                f'<progress max="{self._total}" value="{min(self._done, self._total)}"></progress> '
            )
        self._write(f"{bar}{text(self._task)} {text(told)} <small>{text(self._note)}</small>")

    def _write(self, html: str) -> None:
        shower = import_module("IPython.display")  # a kernel has it; nothing here depends on it
        shown = shower.HTML(html)
        if self._place is None:
            self._place = shower.display(shown, display_id=True)
        else:
            self._place.update(shown)
