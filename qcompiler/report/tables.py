"""A report as text: rich tables rendered without colours."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qcompiler.ir.diagnostics import Severity
from qcompiler.report.long_tables import long_tables
from qcompiler.report.numbers import (
    show_bytes,
    show_figure,
    show_gain,
    show_noise,
    show_number,
    show_seconds,
    show_share,
)
from qcompiler.report.output_lines import output_line
from qcompiler.report.plain_table import plain_table
from qcompiler.report.report import Report
from qcompiler.report.rows import EngineRow, Figure, RegionRow
from qcompiler.report.showing import shown

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
    if report.samples is not None:
        console.print(escape(str(report.samples)))
    for row in report.outputs:
        console.print(escape(output_line(row)), soft_wrap=True)
    for each in report.variants:
        console.print(escape(f"tried {each.told}"), soft_wrap=True)
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
        tables.append(figureplain_table(report.figures))
    if report.engines:
        tables.append(engine_table(report.engines))
    if report.regions:
        title = ", ".join(f"{count} {name}" for name, count in report.counts().items())
        rows = report.regions if every else regions_that_matter(report.regions)
        which = "" if len(rows) == len(report.regions) else f"; the {len(rows)} that matter most"
        narrow = width < _WIDE and not every
        tables.append(regionplain_table(rows, f"regions: {title}{which}", narrow))
    if every:
        tables += long_tables(report)
    return tables


def figureplain_table(figures: Sequence[Figure]) -> Table:
    """Float against compiled; the gain with its 95 % interval where that was measured."""
    table = plain_table("", ["", "float", "compiled", "gain"])
    for each in figures:
        shown = [show_figure(value, each.unit) for value in (each.float_value, each.compiled_value)]
        table.add_row(each.name, *shown, show_gain(each))
    return table


def engine_table(rows: Sequence[EngineRow]) -> Table:
    """One line for every engine that was to be tried."""
    cells = {
        "engine": [row.engine for row in rows],
        "outcome": [row.outcome for row in rows],
        "time": [show_seconds(row.seconds) for row in rows],
        "speed": [row.speed for row in rows],
        "loss": [show_noise(row.loss) for row in rows],
        "score": ["" if row.score is None else show_number(row.score) for row in rows],
        "quantized": ["" if row.quantized is None else str(row.quantized) for row in rows],
    }
    filled = {name: column for name, column in cells.items() if any(column)}
    table = plain_table("engines, beside the first one's float", list(filled))
    for row_cells in zip(*filled.values(), strict=True):
        table.add_row(*map(escape, row_cells))
    return table


def regionplain_table(rows: Sequence[RegionRow], title: str, narrow: bool = False) -> Table:
    """One line for every region; the module path stands for the region where it is known.

    Columns without any entry are left out; with `narrow`, sizes and float's times too: the reason
    has those. `loss` is measured on the outputs, `noise` is what the region's own roundings add.
    """
    cells = {
        "region": [row.module or row.region for row in rows],
        "ops": [row.ops for row in rows],
        "precision": [row.precision for row in rows],
        "time": [show_seconds(row.seconds) for row in rows],
        "float time": [show_seconds(row.float_seconds) for row in rows],
        "loss": [show_share(row.loss) for row in rows],
        "noise": [show_noise(row.noise) for row in rows],
        "size": ["" if row.nbytes is None else show_bytes(row.nbytes) for row in rows],
        "reason": [row.reason for row in rows],
    }
    if narrow:
        del cells["float time"], cells["size"]
    filled = {name: column for name, column in cells.items() if any(column)}
    table = plain_table(title, list(filled))
    for row_cells in zip(*filled.values(), strict=True):
        table.add_row(*map(escape, row_cells))
    return table
