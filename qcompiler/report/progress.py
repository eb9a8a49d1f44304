"""`TerminalProgress`: a bar with rate and remaining time on standard error."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from qcompiler.printable import one_line
from qcompiler.report.notebook import NotebookProgress, in_notebook
from qcompiler.report.plain_progress import PlainProgress
from qcompiler.report.rate import show_rate

if TYPE_CHECKING:
    from qcompiler.pipeline.contract import Progress as Shown


def shown_progress() -> Shown:
    """What shows progress where this process runs: a notebook's output, a terminal, or a log."""
    if in_notebook():
        return NotebookProgress()
    progress = TerminalProgress()
    return progress if progress.is_seen else PlainProgress()


class RateColumn(ProgressColumn):
    """Steps per second so far, or seconds per step when slower than one a second."""

    def render(self, task: Task) -> Text:
        return Text(show_rate(task.finished_speed or task.speed))


class TerminalProgress:
    """Shows long steps as they go; carries out `qcompiler.pipeline.contract.Progress`.

    Nothing is drawn when standard error is no terminal. A step of unknown length shows its count
    and rate without a remaining time.

    Args:
        console: Where to draw; standard error by default.
        every: Least seconds between two updates, so that fast steps do not pay for drawing.
    """

    def __init__(self, console: Console | None = None, every: float = 0.1) -> None:
        self._console = console or Console(stderr=True)
        self._every = every
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._pending = 0
        self._shown = 0.0

    @property
    def is_seen(self) -> bool:
        """Whether it draws on a terminal."""
        return self._console.is_terminal

    def start(self, task: str, total: int | None) -> None:
        self.finish()
        if not self._console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            RateColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task(escape(one_line(task)), total=total, note="")
        self._bar.start()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._pending += amount
        now = time.monotonic()
        if self._bar is not None and now - self._shown >= self._every:
            self._bar.update(self._task, advance=self._pending, note=escape(one_line(note)))
            self._pending, self._shown = 0, now

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, advance=self._pending)
            self._bar.stop()
        self._bar, self._pending, self._shown = None, 0, 0.0
