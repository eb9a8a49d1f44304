"""What a notebook shows of a report."""

from __future__ import annotations

from qcompiler.ir.diagnostics import Severity
from qcompiler.markup import block
from qcompiler.report.numbers import show_figure, show_gain
from qcompiler.report.report import Report
from qcompiler.report.tables import regions_that_matter

_ROWS = 5


def render_brief(report: Report) -> str:
    """Warnings, the outcome, figures, and the few regions that matter most."""
    told = [str(each) for each in report.diagnostics if each.severity > Severity.INFO]
    warnings = [*report.warnings, *told]
    figures = [
        (
            each.name,
            show_figure(each.float_value, each.unit),
            show_figure(each.compiled_value, each.unit),
            show_gain(each),
        )
        for each in report.figures
    ]
    rows = [
        (row.name, row.ops, row.precision) for row in regions_that_matter(report.regions, _ROWS)
    ]
    counts = ", ".join(f"{count} {name}" for name, count in report.counts().items())
    return block(
        f"{report.source} → {report.target}",
        [*(f"warning: {each}" for each in warnings), report.summary, counts],
        [(("", "float", "compiled", "gain"), figures), (("region", "ops", "precision"), rows)],
        hidden=max(0, len(report.regions) - _ROWS),
        note="report.html() is the whole page",
    )
