"""A report as text: rich tables rendered without colours."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qcompiler.ir.diagnostics import Severity
from qcompiler.report.report import Figure, PassRow, RegionRow, Report
from qcompiler.report.showing import shown

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_LONGEST_NAME = 26
"""Columns of a region's name and of its ops: what is left is for the reason."""
_BYTES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))


_WIDE = 100
_SHOWN = 10
"""Regions in a summary."""


def render_text(report: Report, width: int, every: bool = False) -> str:
    """The report for a terminal `width` columns wide, what is wrong first.

    Args:
        report: What is shown.
        width: Columns.
        every: Every region and pass; otherwise the regions that matter, and where the rest is.
    """
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
    for table in _tables(report, width, every):
        console.print(table)
    if not every and len(report.regions) > _SHOWN:
        more = len(report.regions) - _SHOWN
        console.print(
            f"{more} more regions and {len(report.passes)} passes: report.text(every=True), or "
            "--report FILE (.html, .txt, .json)",
            soft_wrap=True,
        )
    for found in report.diagnostics:
        if found.severity is Severity.INFO:
            console.print(escape(str(found)), soft_wrap=True)
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def regions_that_matter(rows: Sequence[RegionRow], count: int = _SHOWN) -> list[RegionRow]:
    """Those that take longest, in graph order; without times those that stay float come first."""
    ranks = [(-max(each.seconds or 0, each.float_seconds or 0), not each.is_float) for each in rows]
    chosen = sorted(range(len(rows)), key=lambda index: ranks[index])[:count]
    return [rows[index] for index in sorted(chosen)]


def _tables(report: Report, width: int, every: bool) -> list[Table]:
    tables = []
    if report.figures:
        tables.append(figure_table(report.figures))
    if report.regions:
        title = ", ".join(f"{count} {name}" for name, count in report.counts().items())
        rows = report.regions if every else regions_that_matter(report.regions)
        which = "" if len(rows) == len(report.regions) else f"; the {len(rows)} that matter most"
        narrow = width < _WIDE and not every
        tables.append(region_table(rows, f"regions: {title}{which}", narrow))
    if report.passes and every:
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


def region_table(rows: Sequence[RegionRow], title: str, narrow: bool = False) -> Table:
    """One line for every region; the module path stands for the region where it is known.

    Columns without any entry are left out; with `narrow`, float's time too: the reason has it.
    """
    cells = {
        "region": [row.module or row.region for row in rows],
        "ops": [row.ops for row in rows],
        "precision": [row.precision for row in rows],
        "time": [show_seconds(row.seconds) for row in rows],
        "float time": [show_seconds(row.float_seconds) for row in rows],
        "loss": ["" if row.loss is None else f"{row.loss:.4g}" for row in rows],
        "reason": [row.reason for row in rows],
    }
    if narrow:
        del cells["float time"]
    filled = {name: column for name, column in cells.items() if any(column)}
    table = _table(title, list(filled))
    for row_cells in zip(*filled.values(), strict=True):
        table.add_row(*map(escape, row_cells))
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
        most = _LONGEST_NAME if column in ("region", "ops") else None
        justify: Literal["left", "right"] = "right" if column in numeric else "left"
        cut = most is not None
        table.add_column(column, justify=justify, max_width=most, no_wrap=cut)
    return table
