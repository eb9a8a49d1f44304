"""A report as one self-contained HTML page."""

from __future__ import annotations

from html import escape

from jinja2 import Environment, PackageLoader, StrictUndefined

from qcompiler.report.numbers import show_figure, show_gain, show_seconds
from qcompiler.report.plots import layer_times
from qcompiler.report.report import Report
from qcompiler.report.showing import shown


def render_brief(report: Report) -> str:
    """A few lines for a notebook cell."""
    lines = [f"<b>{escape(report.source)} → {escape(report.target)}</b>", escape(report.summary)]
    lines += [f"warning: {escape(each)}" for each in report.warnings]
    for each in report.figures:
        shown = [show_figure(value, each.unit) for value in (each.float_value, each.compiled_value)]
        lines.append(f"{escape(each.name)}: {shown[0]} → {shown[1]}")
    return "<br>".join(line for line in lines if line)


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
    environment.filters["gain"] = show_gain
    plot = layer_times(report.regions)
    return environment.get_template("report.html.j2").render(report=report, plot=plot)
