"""The report as text, HTML and JSON; rows from regions, plans and pipeline runs."""

from __future__ import annotations

import io
from html.parser import HTMLParser

import pytest
from rich.console import Console

from qcompiler.errors import ConfigurationError
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.report.network import Network, Vertex
from qcompiler.report.numbers import show_bytes, show_seconds
from qcompiler.report.progress import TerminalProgress, show_rate
from qcompiler.report.report import Report
from qcompiler.report.rows import (
    Figure,
    FrontierRow,
    PassRow,
    RegionRow,
    SampleCounts,
    VariantRow,
)
from qcompiler.report.tables import regions_that_matter
from qcompiler.report.values import Distribution, ValueRow


@pytest.fixture
def report() -> Report:
    return Report(
        source="file <model>.onnx",
        target="onnxruntime",
        summary="int8 is 1.9 times faster",
        regions=(
            RegionRow(
                "conv1",
                "Conv+Relu",
                "int8",
                "stem.$0",
                "m.py:3",
                "wins",
                1e-3,
                2e-3,
                0.001,
                noise=1e-4,
                float_nbytes=4096,
                nbytes=1040,
                shape="float[N,8]",
                forms={"float32": 2e-3, "int8": 1e-3, "int8-dynamic": None},
                losses={"int8": 0.001},
                reads=("x",),
                weight="w",
            ),
            RegionRow("head", "Gemm", "float32", None, None, "too [small]", 2e-6, None, None),
        ),
        passes=(PassRow(1, "canonicalize", 0.012, 4),),
        figures=(
            Figure("latency", "s", 0.004, 0.002, interval=(1.8, 2.25), rounds=21),
            Figure("size", "bytes", 4096.0, 1024.0),
            Figure("accuracy", "", 0.98, 0.975, "higher"),
        ),
        diagnostics=(Diagnostic(Severity.WARNING, "R01", "a <b>finding</b>", node="conv1"),),
        warnings=("batch was fixed",),
        seconds=1.5,
        variants=(VariantRow("a-pass", 0.1, 0.01, True, "cheap", "a-pass: kept, 10 dB → 20 dB"),),
        frontier=(FrontierRow(0, 0.004, 0.0, 4096, 0, True), FrontierRow(1, None, 0.01, 1024, 1)),
        values=(
            ValueRow("w", "weight", "INT8", "8×4", (0.25, 0.5), 8, (0, 0), -64.0, 63.5),
            ValueRow(
                "x",
                "activation",
                "UINT8",
                "",
                (0.1, 0.1),
                1,
                (3, 3),
                -0.3,
                25.2,
                (-1.0, 26.0),
                0.0125,
                1e-4,
                "",
                Distribution(-1.0, 26.0, (1, 0, 7)),
            ),
        ),
        network=Network(
            (
                Vertex("x", "input", shape="float[N,4]"),
                Vertex("conv1", "Conv+Relu", 0, "float[N,8]"),
                Vertex("swish", "HardSwish", note="t has no integer kernel for HardSwish"),
                Vertex("head", "Gemm", 1),
                Vertex("y", "output"),
            ),
            ((0, 1), (1, 2), (2, 3), (3, 4)),
        ),
        samples=SampleCounts(16, 8, 8),
        environment={"engine": "onnxruntime 9.9", "processor": "a <fast> one"},
    )


def test_json_round_trips(report: Report) -> None:
    assert Report.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"regions": 3}', '{"regions": [3]}', "[" * 99_999]
)
def test_other_json_is_no_report(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a report"):
        Report.from_json(text)


def test_text_shows_every_fact(report: Report) -> None:
    text = report.text(width=140, every=True)
    for part in (
        "file <model>.onnx → onnxruntime",
        "int8 is 1.9 times faster",
        "2.00×",
        "4.00×",
        "4 KiB",
        "(1.80 to 2.25, 21 rounds)",
        "0.9750",
        "1 float32, 1 int8",
        "40.0 dB",
        "1.02 KiB",
        "0.25 … 0.5 (8)",
        "-0.3 … 25.2",
        "-1 … 26",
        "0.0125",
        "t has no integer kernel for HardSwish",
        "16 samples: 8 to judge by, 8 to fit to",
        "onnxruntime 9.9",
        "a <fast> one",
        "stem.$0",
        "too [small]",
        "canonicalize",
        "12 ms",
        "batch was fixed",
        "warning R01: a <b>finding</b> [at conv1]",
    ):
        assert part in text
    assert "\x1b" not in text
    assert all(len(line) <= 140 for line in text.splitlines())


def test_a_long_report_shows_the_regions_that_matter_and_where_the_rest_is() -> None:
    rows = tuple(
        RegionRow(f"r{i}", "Conv", "int8", seconds=1e-6 * (i % 7), reason="why") for i in range(40)
    )
    report = Report("file m.onnx", "t", regions=rows)
    text = report.text(width=80)
    assert len(text.splitlines()) < 25
    shown = [row.region for row in rows if f" {row.region} " in text]
    assert shown == [f"r{i}" for i in range(40) if i % 7 == 6 or i in (5, 12, 19, 26, 33)]
    assert "30 more regions" in text
    assert "loss" not in text  # nothing is known of it
    whole = report.text(width=80, every=True)
    assert all(f" {row.region} " in whole for row in rows)
    assert "more regions" not in whole


def test_regions_without_times_show_what_stays_float() -> None:
    rows = [RegionRow(f"r{i}", "Conv", "float32" if i > 20 else "int8") for i in range(24)]
    shown = [row.region for row in regions_that_matter(rows, 5)]
    assert shown == ["r0", "r1", "r21", "r22", "r23"]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows = 0
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "path", "use", "rect"):
            self.open.append(tag)
        self.rows += tag == "tr"
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag


def test_html_is_one_well_formed_escaped_page(report: Report) -> None:
    html = report.html()
    page = _Page()
    page.feed(html)
    page.close()
    assert page.open == []
    assert page.rows == 4 + 3 + 2
    assert all(link.startswith("#") for link in page.links), "a link leaves the page"
    assert "<b>finding" not in html
    assert "&lt;b&gt;finding" in html
    assert html.count("<svg") == 1
    assert "stem.$0" in html


def test_html_without_times_has_no_plot() -> None:
    assert "<svg" not in Report("m", "t", regions=(RegionRow("a", "Conv", "int8"),)).html()


def test_html_is_deterministic(report: Report) -> None:
    assert report.html() == report.html()


def test_gain() -> None:
    assert Figure("latency", "s", 3.0, 1.5).gain == 2.0
    assert Figure("accuracy", "", 0.5, 0.4, "higher").gain is None
    with pytest.raises(ConfigurationError, match="'lower' or 'higher'"):
        Figure("x", "", 1.0, 1.0, "faster")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (0.0, "0 ns"),
        (2.5e-7, "250 ns"),
        (1.5e-6, "1.5 µs"),
        (0.0123, "12.3 ms"),
        (12, "12 s"),
    ],
)
def test_seconds(value: float | None, shown: str) -> None:
    assert show_seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 2**30, "3 GiB")]
)
def test_bytes(value: float, shown: str) -> None:
    assert show_bytes(value) == shown


def test_progress_draws_count_and_rate_on_a_terminal() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, legacy_windows=False)
    progress = TerminalProgress(console, every=0.0)
    progress.start("calibrate [1]", 4)
    for _ in range(4):
        progress.advance(note="batch")
    progress.finish()
    assert "calibrate [1]" in screen.getvalue()
    assert "4/4" in screen.getvalue()


def test_progress_is_silent_without_a_terminal() -> None:
    screen = io.StringIO()
    progress = TerminalProgress(Console(file=screen, force_terminal=False))
    progress.start("calibrate", None)
    progress.advance(3)
    progress.finish()
    assert screen.getvalue() == ""


@pytest.mark.parametrize(("speed", "shown"), [(None, ""), (12.5, "12.5/s"), (0.5, "2.0 s each")])
def test_rate(speed: float | None, shown: str) -> None:
    assert show_rate(speed) == shown
