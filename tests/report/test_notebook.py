"""Progress in a notebook, on a stand-in of IPython that keeps what is displayed."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from qcompiler.report.notebook import NotebookProgress, in_notebook
from qcompiler.report.plain_progress import PlainProgress
from qcompiler.report.progress import TerminalProgress, shown_progress
from qcompiler.report.rate import show_left


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the kernel was told to display, the latest last."""
    kept: list[str] = []

    def display(html: str, display_id: bool) -> SimpleNamespace:
        assert display_id
        kept.append(html)
        return SimpleNamespace(update=kept.append)

    package, module = ModuleType("IPython"), ModuleType("IPython.display")
    package.__dict__["get_ipython"] = lambda: SimpleNamespace(kernel=object())
    module.__dict__.update(display=display, HTML=str)
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return kept


def test_it_is_taken_in_a_kernel_only(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_notebook()
    assert isinstance(shown_progress(), NotebookProgress)
    terminal = SimpleNamespace(get_ipython=SimpleNamespace)  # IPython without a kernel
    for is_seen, kind in ((True, TerminalProgress), (False, PlainProgress)):
        monkeypatch.setattr(TerminalProgress, "is_seen", is_seen)
        monkeypatch.setitem(sys.modules, "IPython", terminal)
        assert isinstance(shown_progress(), kind)
        monkeypatch.delitem(sys.modules, "IPython")
        assert isinstance(shown_progress(), kind)


def test_count_rate_and_time_left(shown: list[str]) -> None:
    now = [0.0]
    progress = NotebookProgress(lambda: now[0])
    progress.start("calibrate <b>", 10)
    for _ in range(4):
        now[0] += 0.5
        progress.advance(note="batch")
    assert 'max="10" value="4"' in shown[-1]
    assert "calibrate &lt;b&gt; 4 of 10, 2.0/s, 3 s left" in shown[-1]
    assert "<small>batch</small>" in shown[-1]
    progress.finish()
    assert shown[-1] == ""


def test_fast_steps_do_not_pay_for_drawing(shown: list[str]) -> None:
    progress = NotebookProgress(lambda: 1.0)
    progress.start("search", None)
    for _ in range(1000):
        progress.advance()
    assert len(shown) <= 2


@pytest.mark.parametrize(
    ("done", "total", "elapsed", "wanted"),
    [(0, 5, 1.0, ""), (1, None, 1.0, ""), (1, 5, 2.0, "8 s left"), (1, 61, 10.0, "10 min left")],
)
def test_time_left(done: int, total: int | None, elapsed: float, wanted: str) -> None:
    assert show_left(done, total, elapsed) == wanted
