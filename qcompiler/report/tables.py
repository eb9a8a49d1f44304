"""A report as text: rich tables rendered without colours."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qcompiler.ir.diagnostics import Severity
from qcompiler.report.findings import gathered
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
from qcompiler.report.region_lines import region_lines
from qcompiler.report.report import Report
from qcompiler.report.rows import EngineRow, Figure, RegionRow
from qcompiler.report.showing import shown

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
    for line in _head(report, every):
        console.print(escape(line), soft_wrap=True)
    for table in _tables(report, every):
        console.print(table)
    for line in _tail(report, width, every):
        console.print(escape(line), soft_wrap=True)
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _head(report: Report, every: bool) -> Iterator[str]:
    """What is wrong, the outcome, the data, the outputs and what was tried."""
    yield from (f"warning: {each}" for each in report.warnings)
    yield from _findings(report, every, lambda severity: severity > Severity.INFO)
    yield f"{report.source} → {report.target}"
    if report.summary:
        yield report.summary
    if report.samples is not None:
        yield str(report.samples)
    yield from map(output_line, report.outputs)
    yield from (f"tried {each.told}" for each in report.variants)


def _tail(report: Report, width: int, every: bool) -> Iterator[str]:
    """Of a summary the regions that matter and where the rest is; what else was found."""
    if not every and report.regions:
        yield _most(report, width)
    more = len(report.regions) - _SHOWN
    if not every and more > 0:
        yield (
            f"{more} more regions and {len(report.passes)} passes: report.text(every=True), or "
            "--report FILE (.html, .txt, .json)"
        )
    yield from _findings(report, every, lambda severity: severity is Severity.INFO)


def _findings(report: Report, every: bool, wanted: Callable[[Severity], bool]) -> list[str]:
    found = [each for each in report.diagnostics if wanted(each.severity)]
    return [*map(str, found)] if every else gathered(found)


def regions_that_matter(rows: Sequence[RegionRow], count: int = _SHOWN) -> list[RegionRow]:
    """Those that take longest, in graph order; without times the noisiest, then large weights."""
    chosen = sorted(range(len(rows)), key=lambda index: _rank(rows[index]))[:count]
    return [rows[index] for index in sorted(chosen)]


def _rank(row: RegionRow) -> tuple[float, float, bool, int, bool]:
    """The lowest comes first; of what has weights, what stays float."""
    seconds, nbytes = max(row.seconds or 0, row.float_seconds or 0), row.float_nbytes or 0
    return -seconds, -(row.noise or 0), not (row.is_float and nbytes), -nbytes, not row.is_float


def _tables(report: Report, every: bool) -> list[Table]:
    tables = []
    if report.figures:
        tables.append(figureplain_table(report.figures))
    if report.engines:
        tables.append(engine_table(report.engines))
    if every and report.regions:
        tables.append(regionplain_table(report.regions, _counted(report)))
    if every:
        tables += long_tables(report)
    return tables


def _counted(report: Report) -> str:
    return "regions: " + ", ".join(f"{n} {name}" for name, n in report.counts().items())


def _most(report: Report, width: int) -> str:
    """The regions that matter most, each with its reason below it."""
    rows = regions_that_matter(report.regions)
    which = "" if len(rows) == len(report.regions) else f"; the {len(rows)} that matter most"
    cells = _region_cells(rows)
    for name in ("float time", "size"):  # the reason has them
        cells.pop(name, None)
    reasons = cells.pop("reason", [""] * len(rows))
    return f"{_counted(report)}{which}\n{region_lines(cells, reasons, width)}"


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


def regionplain_table(rows: Sequence[RegionRow], title: str) -> Table:
    """One line for every region."""
    cells = _region_cells(rows)
    table = plain_table(title, list(cells))
    for row_cells in zip(*cells.values(), strict=True):
        table.add_row(*map(escape, row_cells))
    return table


def _region_cells(rows: Sequence[RegionRow]) -> dict[str, list[str]]:
    """Columns by heading, those without any entry left out.

    The module path stands for the region where it is known. `loss` is measured on the outputs,
    `noise` is what the region's own roundings add.
    """
    cells = {
        "region": [row.name for row in rows],
        "ops": [row.ops for row in rows],
        "precision": [row.precision for row in rows],
        "time": [show_seconds(row.seconds) for row in rows],
        "float time": [show_seconds(row.float_seconds) for row in rows],
        "loss": [show_share(row.loss) for row in rows],
        "noise": [show_noise(row.noise) for row in rows],
        "size": ["" if row.nbytes is None else show_bytes(row.nbytes) for row in rows],
        "reason": [row.reason for row in rows],
    }
    return {name: column for name, column in cells.items() if any(column)}
