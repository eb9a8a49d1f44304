"""A report as text: rich tables rendered without colours."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qcompiler.ir.diagnostics import Severity
from qcompiler.report.report import Figure, PassRow, RegionRow, Report
from qcompiler.report.showing import shown

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))


def render_text(report: Report, width: int) -> str:
    """The whole report for a terminal `width` columns wide, what is wrong first."""
    report = shown(report)
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    told = [each for each in report.diagnostics if each.severity > Severity.INFO]
    for line in [*(f"warning: {each}" for each in report.warnings), *map(str, told)]:
        console.print(escape(line), soft_wrap=True)
    console.print(f"{escape(report.source)} → {escape(report.target)}")
    if report.summary:
        console.print(escape(report.summary))
    for line in report.variants:
        console.print(escape(f"tried {line}"), soft_wrap=True)
    for table in _tables(report):
        console.print(table)
    for found in report.diagnostics:
        if found.severity is Severity.INFO:
            console.print(escape(str(found)), soft_wrap=True)
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _tables(report: Report) -> list[Table]:
    tables = []
    if report.figures:
        tables.append(figure_table(report.figures))
    if report.regions:
        title = ", ".join(f"{count} {name}" for name, count in report.counts().items())
        tables.append(region_table(report.regions, f"regions: {title}"))
    if report.passes:
        tables.append(pass_table(report.passes))
    return tables


def figure_table(figures: Sequence[Figure]) -> Table:
    """Float against compiled."""
    table = _table("", ["", "float", "compiled", "gain"])
    for each in figures:
        gain = "" if each.gain is None else f"{each.gain:.2f}×"
        shown = [show_figure(value, each.unit) for value in (each.float_value, each.compiled_value)]
        table.add_row(each.name, *shown, gain)
    return table


def region_table(rows: Sequence[RegionRow], title: str) -> Table:
    """One line for every region; the module path stands for the region where it is known."""
    table = _table(title, ["region", "ops", "precision", "time", "float time", "loss", "reason"])
    for row in rows:
        loss = "" if row.loss is None else f"{row.loss:.4g}"
        times = [show_seconds(row.seconds), show_seconds(row.float_seconds)]
        cells = [row.module or row.region, row.ops, row.precision, *times, loss, row.reason]
        table.add_row(*map(escape, cells))
    return table


def pass_table(rows: Sequence[PassRow]) -> Table:
    """One line for every pass execution."""
    table = _table("passes", ["number", "pass", "time", "edits"])
    for row in rows:
        table.add_row(str(row.number), escape(row.name), show_seconds(row.seconds), str(row.edits))
    return table


def show_figure(value: float, unit: str) -> str:
    """A value with its unit: `1.24 ms`, `3.5 MiB`, `0.9821`."""
    if unit == "s":
        return show_seconds(value)
    if unit == "bytes":
        return show_bytes(value)
    return f"{value:.4g}" + (f" {unit}" if unit else "")


def show_seconds(value: float | None) -> str:
    """Seconds with three significant digits and a fitting unit; empty for None."""
    return "" if value is None else _scaled(value, _SECONDS)


def show_bytes(value: float) -> str:
    """Bytes with three significant digits and a binary unit."""
    return _scaled(value, _BYTES)


def _scaled(value: float, units: Sequence[tuple[float, str]]) -> str:
    """The value in the largest unit of which there is at least one, else in the smallest."""
    fitting = [each for each in units if abs(value) >= each[0]]
    scale, unit = fitting[0] if fitting else units[-1]
    number = value / scale
    return (f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}") + f" {unit}"


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    numeric = {"time", "float time", "loss", "edits", "number", "float", "compiled", "gain"}
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left")
    return table
