"""A report as one self-contained HTML page."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from qcompiler.report import numbers, views
from qcompiler.report.bounded import bounded
from qcompiler.report.charts import frontier_chart
from qcompiler.report.page_data import page_data
from qcompiler.report.palette import colours
from qcompiler.report.report import Report
from qcompiler.report.showing import shown

_SCRIPTS = ("drawing.js", "graph.js", "details.js", "layers.js", "main.js")


def render_html(report: Report) -> str:
    """The page: summary, network, configurations, layers, values, passes, reasons, findings.

    It loads nothing, and says so in its content security policy. Texts of the model get into it
    through the template's escaping or as JSON that the script shows as text, never as markup.
    """
    report = bounded(shown(report))
    environment = Environment(
        loader=PackageLoader("qcompiler.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loader = environment.loader
    assert loader is not None
    own = {name: loader.get_source(environment, name)[0] for name in ("page.css", *_SCRIPTS)}
    return environment.get_template("page.html.j2").render(
        report=report,
        numbers=numbers,
        views=views,
        palette=colours(row.precision for row in report.regions),
        frontier=frontier_chart(report.frontier),
        style=Markup(own["page.css"]),
        script=Markup("\n").join(Markup(own[name]) for name in _SCRIPTS),
        data=Markup(page_data(report)),
    )
