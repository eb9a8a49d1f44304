"""What notebooks show is short, escaped and self-contained."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from qcompiler.compare import ModelComparison, OutputDifference
from qcompiler.execution.verification import RegionCheck, Verification
from qcompiler.ir.plan import Choice, Plan
from qcompiler.markup import MOST_ROWS, block
from qcompiler.report.report import Report
from qcompiler.report.rows import RegionRow

BAD = "<script>alert(1)</script>\x1b\u202e" + "x" * 5000
COUNT = 3000

SHOWN: dict[str, Callable[[], object]] = {
    "plan": lambda: Plan("t", {f"{i}{BAD}": Choice("int8", BAD) for i in range(COUNT)}),
    "report": lambda: Report(
        BAD, "t", BAD, tuple(RegionRow(f"{i}{BAD}", BAD, "int8") for i in range(COUNT))
    ),
    "comparison": lambda: ModelComparison(
        tuple(OutputDifference(f"{i}{BAD}", 1.0, 0.1, 0.5) for i in range(COUNT)), 3
    ),
    "verification": lambda: Verification(
        "t", 0, tuple(RegionCheck(f"{i}{BAD}", BAD, {1: 3}) for i in range(COUNT))
    ),
}


class _Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert attrs == []


@pytest.mark.parametrize("kind", SHOWN)
def test_what_a_notebook_shows_is_short_and_harmless(kind: str) -> None:
    found = SHOWN[kind]()
    html = found._repr_html_()  # type: ignore[attr-defined]
    assert len(html) < 20_000
    assert "\x1b" not in html
    assert "\u202e" not in html
    plain = {"div", "b", "br", "small", "table", "thead", "tbody", "tr", "th", "td"}
    assert _Tags(html).tags <= plain
    assert "&lt;script&gt;" in html
    assert f"{COUNT}" in html or f"{COUNT - MOST_ROWS} more rows" in html
    assert len(repr(found)) < 12_000
    assert "\x1b" not in repr(found)


def test_rows_are_counted_and_empty_tables_left_out() -> None:
    html = block("t", ["", "line"], [(("a",), [(i,) for i in range(20)]), (("b",), [])], note="all")
    assert html.count("<tr>") == 1 + MOST_ROWS
    assert "8 more rows; all" in html
    assert "<th>b</th>" not in html
    assert html.count("<br>") == 1
    assert block("t", note="all") == "<div><b>t</b><br><small>all</small></div>"
