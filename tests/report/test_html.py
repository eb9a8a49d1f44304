"""The page as text: well-formed, escaped, alone, bounded, the same every time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from qcompiler.report.bounded import MOST_DRAWN, bounded
from qcompiler.report.page_data import packed, page_data
from qcompiler.report.report import Report
from qcompiler.report.rows import RegionRow
from qcompiler.report.values import Distribution

_EMPTY = {"meta", "input", "link", "br", "img"}


class _Page(HTMLParser):
    """Tags that are open, links, ids and the elements' attributes that run something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in _EMPTY:
            self.open.append(tag)
        self._take(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._take(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def _take(self, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def data_of(html: str) -> dict[str, Any]:
    """What the page's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    result: dict[str, Any] = json.loads(found[1])
    return result


def test_the_page_is_well_formed_and_alone(report: Report) -> None:
    html = report.html()
    page = _Page(html)
    assert page.open == []
    assert all(link.startswith("#") for link in page.links), "a link leaves the page"
    assert page.handlers == []
    assert "default-src 'none'" in html
    own = html.replace("http://www.w3.org/2000/svg", "")
    assert "//www" not in own
    assert "http" not in re.sub(r"http-equiv", "", own)


def test_the_page_tells_every_fact(report: Report) -> None:
    text = " ".join(_Page(report.html()).text.split())
    for part in (
        "file <model>.onnx → onnxruntime",
        "batch was fixed",
        "warning R01: a <b>finding</b> [at conv1]",
        "2.00×",
        "95 % interval 1.90× to 2.10×, 21 rounds",
        "0.9750",
        "16 samples: 8 to judge by, 8 to fit to",
        "a <fast> one",
        "too [small]",
        "t has no integer kernel for HardSwish",
        "a-pass",
        "20.0 dB",
        "canonicalize",
        "12 ms, 4 edits",
    ):
        assert part in text, part
    places = [text.index(part) for part in ("batch was fixed", "int8 is 1.9 times faster")]
    assert places == sorted(places), "warnings come first"


def test_the_script_gets_every_region_value_and_edge(report: Report) -> None:
    found = data_of(report.html())
    assert [each["name"] for each in found["regions"]] == ["stem.$0", "head"]
    assert found["regions"][0]["forms"] == [
        ["float32", "2 ms", ""], ["int8", "1 ms", "0.001"], ["int8-dynamic", "", ""],
    ]  # fmt: skip
    assert [found["values"][k]["key"] for k in found["regions"][0]["values"]] == ["x", "w"]
    assert [edge[:2] for edge in found["network"]["edges"]] == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert found["network"]["region"] == [-1, 0, -1, 1, -1]


def test_a_hostile_name_stays_text(hostile: Report, harmless: Report) -> None:
    html = hostile.html()
    html.encode("utf-8")
    plain, page = _Page(harmless.html()), _Page(html)
    assert page.tags == plain.tags, "a name became an element"
    assert page.open == []
    assert page.links == plain.links
    assert page.handlers == []
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert data_of(html)["network"]["label"][0] == data_of(html)["regions"][0]["ops"]


def test_the_check_of_hostile_names_can_fail(harmless: Report) -> None:
    html = harmless.html()
    broken = html.replace("plain", "<script>alert(1)</script>", 1)
    assert _Page(broken).tags != _Page(html).tags


def test_no_number_is_outside_json() -> None:
    row = RegionRow("a", "Conv", "int8", seconds=float("inf"), loss=float("nan"))
    report = Report("m", "t", regions=(row, replace(row, loss=float("inf"), noise=0.0)))
    found = json.loads(page_data(report), parse_constant=pytest.fail)
    assert "nloss" not in found["regions"][0]
    assert found["regions"][1]["nloss"] == 1e300
    report.html()


@pytest.mark.parametrize("counts", [(0,), (5,), (0, 1, 10**9), tuple(range(64))])
def test_packed_bars_are_the_shares(counts: tuple[int, ...]) -> None:
    alphabet = json.loads(page_data(Report("m", "t")))["alphabet"]
    text = packed(Distribution(0.0, 1.0, counts))
    levels = [
        (alphabet.index(text[i]) * 64 + alphabet.index(text[i + 1])) / 4095
        for i in range(0, len(text), 2)
    ]
    for level, count in zip(levels, counts, strict=True):
        assert (level > 0) == (count > 0)
        assert level == pytest.approx(count / (max(counts) or 1), abs=1 / 4095)


def test_an_empty_report_has_a_page() -> None:
    page = _Page(Report("m", "t").html())
    assert page.open == []
    assert "canvas" not in page.tags
    assert "Nothing stays float." in page.text


def test_the_page_is_deterministic(report: Report) -> None:
    assert report.html() == report.html()


def test_a_network_of_2000_layers_is_a_bounded_page(big: Report) -> None:
    html = big.html()
    assert len(html.encode()) < 5e6
    assert len(data_of(html)["network"]["x"]) == 2001


def test_a_very_large_network_is_listed_by_what_matters(many: Callable[[int], Report]) -> None:
    report = many(MOST_DRAWN + 1)
    html = report.html()
    assert len(html.encode()) < 5e6
    assert "6001 regions this page lists the 2000 that matter most" in html
    assert "canvas" not in _Page(html).tags
    found = data_of(html)
    assert len(found["regions"]) == 2000
    assert all("values" in each for each in found["regions"])
    assert bounded(many(50)) == many(50)
