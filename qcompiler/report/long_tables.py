"""What the long form of a report adds: values, ops in no region, configurations, passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from qcompiler.report.network import Network
from qcompiler.report.numbers import show_bytes, show_noise, show_seconds, show_share
from qcompiler.report.plain_table import plain_table
from qcompiler.report.report import Report
from qcompiler.report.rows import FrontierRow, PassRow
from qcompiler.report.values import ValueRow


def long_tables(report: Report) -> list[Table]:
    """The tables of which there is something to show."""
    tables = []
    if report.values:
        tables.append(value_table(report.values))
    if report.network.outside:
        tables.append(outside_table(report.network))
    if report.frontier:
        tables.append(frontier_table(report.frontier))
    if report.passes:
        tables.append(pass_table(report.passes))
    if report.environment:
        tables.append(environment_table(report.environment))
    return tables


def value_table(rows: Sequence[ValueRow]) -> Table:
    """Scale, range, what calibration saw and what is lost, of every value in integers."""
    names = ["value", "type", "scale", "zero point", "range", "seen", "clipped", "noise"]
    table = plain_table("values in integers", names)
    for row in rows:
        table.add_row(
            escape(row.key),
            row.type,
            _between(row.scales) + ("" if row.scale_count == 1 else f" ({row.scale_count})"),
            _between(row.zero_points),
            f"{row.low:.4g} … {row.high:.4g}",
            "" if row.seen is None else f"{row.seen[0]:.4g} … {row.seen[1]:.4g}",
            show_share(row.clipped),
            show_noise(row.noise),
        )
    return table


def outside_table(network: Network) -> Table:
    """Ops that are in no region, so in no row above, and why."""
    table = plain_table("ops in no region", ["ops", "count", "reason"])
    found = Counter((each.label, each.note) for each in network.outside)
    for (label, note), count in found.most_common():
        table.add_row(escape(label), str(count), escape(note))
    return table


def frontier_table(rows: Sequence[FrontierRow]) -> Table:
    """Every configuration that was measured."""
    names = ["number", "time", "noise", "size", "quantized", ""]
    table = plain_table("configurations measured", names)
    for row in rows:
        marks = [name for name, holds in (("chosen", row.chosen), ("best", row.best)) if holds]
        cells = [show_seconds(row.seconds), show_noise(row.loss), show_bytes(row.nbytes)]
        table.add_row(str(row.index), *cells, str(row.quantized), ", ".join(marks))
    return table


def pass_table(rows: Sequence[PassRow]) -> Table:
    """One line for every pass execution."""
    table = plain_table("passes", ["number", "pass", "time", "edits"])
    for row in rows:
        table.add_row(str(row.number), escape(row.name), show_seconds(row.seconds), str(row.edits))
    return table


def environment_table(found: Mapping[str, str]) -> Table:
    """What the figures depend on."""
    table = plain_table("environment", ["", "value"])
    for name, value in found.items():
        table.add_row(escape(name), escape(value))
    return table


def _between(ends: tuple[float, float] | tuple[int, int]) -> str:
    low, high = ends
    return f"{low:.4g}" if low == high else f"{low:.4g} … {high:.4g}"
