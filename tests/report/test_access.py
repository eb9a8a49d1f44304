"""The page for readers with weak eyes, without a mouse, or with a narrow window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qcompiler.report.report import Report
from tests.report.chromium import Browser

_PALE = """(() => {
    const parts = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const one = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        return 0.2126 * one(r) + 0.7152 * one(g) + 0.0722 * one(b);
    };
    const back = (e) => {
        for (; e; e = e.parentElement) {
            const found = parts(getComputedStyle(e).backgroundColor);
            if (found.length === 3 || found[3] === 1) return found;
        }
        throw new Error("nothing behind a text is opaque");
    };
    const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let seen = 0;
    while (walk.nextNode()) {
        const e = walk.currentNode.parentElement;
        if (!walk.currentNode.data.trim() || !e.checkVisibility()) continue;
        const style = getComputedStyle(e);
        const ink = light(parts(e.closest("svg") ? style.fill : style.color));
        const [a, b] = [ink, light(back(e))].sort((x, y) => x - y);
        const ratio = (b + 0.05) / (a + 0.05);
        seen++;
        if (ratio < 4.5) found.push(`${e.tagName} ${walk.currentNode.data.trim()} ${ratio}`);
    }
    return [seen, found];
})()"""
"""Texts with a contrast below WCAG's 4.5, and how many there are in all."""


@pytest.fixture
def opened(browser: Browser, report: Report, tmp_path: Path) -> Iterator[Browser]:
    path = tmp_path / "report.html"
    path.write_text(report.html(), encoding="utf-8")
    browser.scheme("light")
    browser.open(path)
    yield browser
    browser.call("Emulation.clearDeviceMetricsOverride")
    browser.scheme("light")
    assert browser.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(opened: Browser, scheme: str) -> None:
    opened.scheme(scheme)
    opened.run("view.choose(1); document.querySelectorAll('details').forEach((e) => e.open = true)")
    seen, pale = opened.run(_PALE)
    assert seen > 100
    assert pale == []
    opened.run("document.body.style.setProperty('--soft', '#8a8f98')")
    assert bool(opened.run(_PALE)[1]) == (scheme == "light")  # it is too pale on white


def test_heat_takes_the_place_of_precisions(opened: Browser) -> None:
    opened.run("byId('colour').value = 'time'; byId('colour').dispatchEvent(new Event('change'))")
    assert opened.run("[view.colour(1), view.colour(2), heat(0)]") == [
        "rgb(192,60,60)",  # it takes the most time
        None,  # in no region
        "rgb(75,108,183)",
    ]


def test_the_table_is_sorted_and_opened_by_keys(opened: Browser) -> None:
    names = "[...document.querySelectorAll('#table tbody tr')].map((e) => e.cells[0].innerText)"
    opened.run("document.querySelector('#table th button').focus()")
    opened.press("Enter")
    assert opened.run(names) == ["head", "stem.$0"]
    assert opened.run("document.querySelector('#table th').ariaSort") == "ascending"
    opened.run("document.querySelector('#table td button').focus()")
    opened.press("Enter")
    assert "too [small]" in opened.run("byId('details').innerText")
    assert opened.run("document.activeElement.id") == "graph"


def test_everything_that_reacts_can_have_the_focus_and_has_a_name(opened: Browser) -> None:
    named = (
        "[...document.querySelectorAll('button, a, input, select, canvas')].filter((e) => "
        "e.tabIndex < 0 || !(e.ariaLabel || e.innerText || e.labels?.length)).map((e) => e.id)"
    )
    assert opened.run(named) == []
    opened.run("byId('in').ariaLabel = ''; byId('in').textContent = ''")
    assert opened.run(named) == ["in"]


def test_a_precision_that_is_off_says_so(opened: Browser) -> None:
    pressed = "document.querySelector('#legend [data-precision=int8]').ariaPressed"
    assert opened.run(pressed) == "true"
    opened.click_on("#legend [data-precision=int8]")
    assert opened.run(pressed) == "false"


@pytest.mark.parametrize("width", [360, 800])
def test_a_narrow_window_scrolls_down_only(opened: Browser, width: int) -> None:
    opened.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1,
        mobile=False,
    )  # fmt: skip
    wide = "document.documentElement.scrollWidth"
    assert opened.run(wide) <= width
    opened.run("document.body.append(element('pre', {}, 'x'.repeat(500)))")
    assert opened.run(wide) > width
