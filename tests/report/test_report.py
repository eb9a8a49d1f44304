"""The report as text, HTML and JSON; rows from regions, plans and pipeline runs."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from qcompiler.errors import ConfigurationError
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.report.numbers import show_bytes, show_seconds
from qcompiler.report.progress import TerminalProgress
from qcompiler.report.rate import show_rate
from qcompiler.report.report import Report
from qcompiler.report.rows import (
    Figure,
    RegionRow,
)
from qcompiler.report.tables import regions_that_matter


def test_json_round_trips(report: Report) -> None:
    assert Report.from_json(report.to_json()) == report


def test_infinite_losses_are_json_and_round_trip(report: Report) -> None:
    """A row of noise alone is infinitely bad; every other reader refuses Python's `Infinity`."""
    broken = replace(report.regions[0], loss=math.inf, losses={"int8": math.inf})
    lossy = replace(report, regions=(broken, *report.regions[1:]))
    text = lossy.to_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert Report.from_json(text) == lossy


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
        "(1.90 to 2.10, 21 rounds)",
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


def test_regions_without_times_show_the_noisiest_and_the_largest_weights() -> None:
    rows = [RegionRow(f"r{i}", "Add", "float32") for i in range(20)]
    rows[3] = RegionRow("r3", "Conv", "int8", noise=0.1, float_nbytes=10)
    rows[7] = RegionRow("r7", "Gemm", "float32", float_nbytes=100)
    rows[9] = RegionRow("r9", "Conv", "int8", float_nbytes=1000)
    assert [row.region for row in regions_that_matter(rows, 3)] == ["r3", "r7", "r9"]


def test_a_reason_has_a_line_of_its_own_below_what_it_is_for() -> None:
    long = "int8 would save 331 µs but lose 1.4e-04 of signal, " * 3
    names = [f"/model.22/cv2.0/cv2.0.1/conv/Conv_{i}" + "x" * 60 * (i == 2) for i in range(4)]
    reasons = ["scheme int8", "scheme int8", long, ""]
    rows = tuple(
        RegionRow(name, "Conv+Relu", "int8", seconds=1e-6, reason=reason)
        for name, reason in zip(names, reasons, strict=True)
    )
    lines = Report("m", "t", regions=rows).text(width=80).splitlines()
    at = lines.index("     " + long.rstrip())
    assert lines[at - 1].lstrip().startswith("/model.22/cv2.0/cv2.0.1/conv/Conv_2x")
    assert len(lines[at - 1]) <= 80
    assert "…" in lines[at - 1]
    assert lines.count("     scheme int8") == 1
    assert lines[at - 2] == "     scheme int8"  # below the second of the two that have it
    assert len(lines) == 1 + 1 + 1 + 4 + 2  # head, count, headings, regions, reasons


def test_findings_that_differ_in_place_are_one_line_of_a_summary() -> None:
    found = (
        *(Diagnostic(Severity.INFO, "X1", "same", node=f"n{i}") for i in range(5)),
        Diagnostic(Severity.INFO, "X1", "other", node="m"),
        Diagnostic(Severity.WARNING, "X1", "same", node="w"),
    )
    report = Report("m", "t", diagnostics=found)
    lines = report.text().splitlines()
    assert lines == [
        "warning X1: same [at w]",
        "m → t",
        "info X1: same [at n0 and 4 more places]",
        "info X1: other [at m]",
    ]
    assert "info X1: same [at n4]" in report.text(every=True)


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
