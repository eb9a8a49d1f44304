"""A report as one self-contained HTML page."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from qcompiler.report.plots import layer_times
from qcompiler.report.report import Report
from qcompiler.report.showing import shown
from qcompiler.report.tables import show_figure, show_seconds


def render_html(report: Report) -> str:
    """The page: figures, plot of time per layer, regions, passes, diagnostics. No outside links."""
    report = shown(report)
    environment = Environment(
        loader=PackageLoader("qcompiler.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = show_seconds
    environment.filters["figure"] = show_figure
    plot = layer_times(report.regions)
    return environment.get_template("report.html.j2").render(report=report, plot=plot)
