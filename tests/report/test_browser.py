"""The page in a headless Chromium: opened, clicked through, and looked at by its own numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qcompiler.report.report import Report


@pytest.fixture
def opened(browser: Any, report: Report, tmp_path: Path) -> Any:
    path = tmp_path / "report.html"
    path.write_text(report.html(), encoding="utf-8")
    browser.scheme("light")
    browser.open(path)
    yield browser
    assert browser.problems == []
    assert [each.partition(":")[0] for each in browser.requests] == ["file"]


def _told(browser: Any) -> str:
    found: str = browser.run("byId('details').innerText")
    return found


def _click_box(browser: Any, vertex: int) -> None:
    box = browser.box("#graph")
    x, y = browser.run(f"view.pixels({vertex})")
    browser.click(box["x"] + x, box["y"] + y)


def test_a_click_on_a_box_tells_what_it_is(opened: Any) -> None:
    _click_box(opened, 1)
    told = _told(opened)
    for part in ("Conv+Relu", "stem.$0", "m.py:3", "wins", "1 ms, 2 ms in float", "1.02 KiB"):
        assert part in told
    assert opened.run("document.querySelectorAll('#details figure').length") == 2
    assert "-0.3 to 25.2" in told
    assert "1.25 %" in told
    _click_box(opened, 2)
    assert "t has no integer kernel for HardSwish" in _told(opened)
    assert opened.run("view.at(-1e5, -1e5)") == -1


def test_clipped_bars_are_marked(opened: Any) -> None:
    _click_box(opened, 1)
    bars = opened.run("[...document.querySelectorAll('#details .bar')].map((e) => e.classList[1])")
    # [-1, 26] in three bins over the range [-0.3, 25.2]: no middle is outside.
    assert bars == [None, None]
    cut = (
        "histogram({key: 'k', range: [0, 1], low: -1, high: 1, bars: data.alphabet[63].repeat(4)})"
        ".querySelectorAll('.cut').length"
    )
    assert opened.run(cut) == 1


def test_search_finds_by_op_name_and_reason(opened: Any) -> None:
    opened.click_on("#search")
    opened.type("integer kernel hard")
    assert opened.run("[...view.hits]") == [2]
    opened.press("Enter")
    assert "HardSwish" in _told(opened)
    assert opened.run("view.search('nothing of this')") == []
    assert opened.run("view.search('stem')") == [1]


def test_zoom_and_drag_keep_what_is_under_the_mouse(opened: Any) -> None:
    box = opened.box("#graph")
    x, y = box["x"] + 300, box["y"] + 200
    world = "[view.left + 300 / view.scale, view.top + 200 / view.scale, view.scale]"
    before = opened.run(world)
    opened.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-120)
    opened.run("new Promise((done) => setTimeout(done, 100))")
    after = opened.run(world)
    assert after[2] > before[2]
    assert after[:2] == pytest.approx(before[:2], abs=2 / before[2])  # a mouse has whole pixels
    chosen = opened.run("view.chosen")
    opened.drag((x, y), (x + 50, y - 20))
    moved = opened.run("[view.left, view.top, view.scale]")
    assert moved[2] == after[2]
    assert moved[0] == pytest.approx(after[0] - 350 / after[2], abs=2 / after[2])
    assert opened.run("view.chosen") == chosen, "a drag is no click"


def test_arrows_go_along_the_edges(opened: Any) -> None:
    opened.run("byId('graph').focus()")
    seen = []
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp"):
        opened.press(key)
        seen.append(opened.run("view.chosen"))
    assert seen == [0, 1, 2, 1]


def test_the_table_sorts_and_filters_and_leads_to_the_graph(opened: Any) -> None:
    names = "[...document.querySelectorAll('#table tbody tr')].map((e) => e.cells[0].innerText)"
    assert opened.run(names) == ["stem.$0", "head"]
    opened.click_on("#table thead th:nth-child(1)")
    assert opened.run(names) == ["head", "stem.$0"]
    opened.click_on("#table thead th:nth-child(4)")
    assert opened.run(names) == ["stem.$0", "head"]  # slowest first
    opened.click_on("#filter")
    opened.type("gemm")
    assert opened.run(names) == ["head"]
    opened.click_on("#table tbody tr")
    assert "too [small]" in _told(opened)


def _pixel(browser: Any, selector: str = "body") -> str:
    found: str = browser.run(
        f"getComputedStyle(document.querySelector('{selector}')).backgroundColor"
    )
    return found


def test_light_and_dark(opened: Any) -> None:
    light = _pixel(opened)
    opened.scheme("dark")
    dark = _pixel(opened)
    assert dark != light
    opened.click_on("#theme")
    assert _pixel(opened) == light
    opened.click_on("#theme")
    assert _pixel(opened) == dark


def test_the_canvas_shows_the_colours_of_precisions(opened: Any) -> None:
    opened.run("view.fit(); new Promise((done) => setTimeout(done, 100))")
    count = """(() => {
        const c = byId('graph'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let blue = 0, grey = 0;
        for (let i = 0; i < d.length; i += 4) {
            if (d[i] === 0 && d[i + 1] === 0x72 && d[i + 2] === 0xb2) blue++;
            if (d[i] === 0x6f && d[i + 1] === 0x76 && d[i + 2] === 0x81) grey++;
        }
        return [blue, grey];
    })()"""
    blue, grey = opened.run(count)
    assert blue > 1000
    assert grey > 1000
    opened.run("document.querySelector('#legend [data-precision=int8]').click()")
    opened.run("new Promise((done) => setTimeout(done, 100))")
    assert opened.run(count)[0] < blue / 10


def test_nothing_of_a_hostile_name_runs(browser: Any, hostile: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(hostile.html(), encoding="utf-8")
    browser.open(path)
    for vertex in (0, 1):
        browser.run(f"view.choose({vertex}, true)")
    assert browser.run("byId('details').textContent.includes(data.network.label[1])")
    assert browser.run("document.scripts.length") == 2
    assert browser.run("document.images.length") == 0
    assert browser.problems == []


def test_2000_layers_are_drawn_where_they_are_seen(
    browser: Any, big: Report, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(big.html(), encoding="utf-8")
    browser.open(path)
    assert browser.run("view.drawn") == 2001
    browser.run("view.choose(1000, true); new Promise((done) => setTimeout(done, 200))")
    assert 0 < browser.run("view.drawn") < 200
    assert browser.run("table.rows().length") == 2000
    assert browser.run("document.querySelectorAll('#table tbody tr').length") == 100
    assert browser.problems == []
