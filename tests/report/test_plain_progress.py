"""Progress in a log: steps that take long, a line now and then."""

from __future__ import annotations

import io
import sys

import pytest

from qcompiler.report.plain_progress import PlainProgress
from qcompiler.report.progress import TerminalProgress, shown_progress


def _told(seconds: float, steps: int, total: int | None) -> list[str]:
    """Lines of a step whose parts take so many seconds each."""
    now, lines = [100.0], list[str]()
    progress = PlainProgress(lambda: now[0], lines.append)
    progress.start("calibrate", total)
    for _ in range(steps):
        now[0] += seconds
        progress.advance(note="batch")
    progress.finish()
    return lines


def test_a_step_that_takes_long_says_how_far_it_is() -> None:
    assert _told(4.0, 6, 6) == [
        "calibrate: 3 of 6, 4.0 s each, 12 s left, batch",
        "calibrate: 6 of 6, 4.0 s each, 0 s left, batch",
    ]


def test_what_has_no_known_end_says_how_much_is_done() -> None:
    assert _told(5.0, 2, None) == ["calibrate: 2, 5.0 s each, batch"]


def test_a_short_step_says_nothing() -> None:
    assert _told(1.0, 9, 9) == []


@pytest.mark.parametrize("terminal", [True, False])
def test_a_log_gets_lines_and_a_terminal_a_bar(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    shown = shown_progress()
    assert isinstance(shown, TerminalProgress if terminal else PlainProgress)
