"""A report that fits on a page, however large the model is."""

from __future__ import annotations

from dataclasses import replace

from qcompiler.report.network import Network
from qcompiler.report.report import Report
from qcompiler.report.tables import regions_that_matter

MOST_DRAWN = 6_000
"""Nodes that are drawn: about 10 MB of page where all of them are layers with histograms."""
_KEPT = 2_000
"""Regions that a page without the network lists."""


def bounded(report: Report) -> Report:
    """The report, or of a very large network the regions that matter most, and a notice."""
    size = max(len(report.network.vertices), len(report.regions))
    if size <= MOST_DRAWN:
        return report
    kept = tuple(regions_that_matter(report.regions, _KEPT))
    used = {key for row in kept for key in (*row.reads, row.weight, row.writes)}
    notice = (
        f"the network has {size} nodes and is not drawn; of {len(report.regions)} regions this "
        f"page lists the {len(kept)} that matter most (report.to_json() has all)"
    )
    return replace(
        report,
        regions=kept,
        values=tuple(each for each in report.values if each.key in used),
        network=Network(),
        warnings=(*report.warnings, notice),
    )
