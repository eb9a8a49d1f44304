"""Plots as inline SVG. Matplotlib's object interface is used, so no global state and no display."""

from __future__ import annotations

import io
from collections.abc import Sequence

from qcompiler.report.rows import RegionRow

_COLOURS = ("#2a6f97", "#e07a5f", "#81b29a", "#f2cc8f", "#6d597a", "#3d405b")
_FLOAT_COLOUR = "#c9c9c9"
_MOST_BARS = 60


def layer_times(rows: Sequence[RegionRow]) -> str:
    """An SVG bar chart of the time of every region, coloured by precision; float time in grey.

    The slowest 60 regions are shown, in graph order. Empty if no times are known.
    """
    timed = [row for row in rows if row.seconds is not None or row.float_seconds is not None]
    if not timed:
        return ""
    kept = sorted(timed, key=_longest, reverse=True)[:_MOST_BARS]
    shown = [row for row in timed if row in kept]
    return _draw(shown)


def _draw(rows: Sequence[RegionRow]) -> str:
    import matplotlib as mpl  # slow to import
    from matplotlib.figure import Figure

    precisions = sorted({row.precision for row in rows})
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(precisions)}
    with mpl.rc_context({"svg.hashsalt": "qcompiler", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 1 + 0.24 * len(rows)), layout="constrained")
        axes = figure.subplots()
        places = range(len(rows))
        grey = [1e3 * (row.float_seconds or 0.0) for row in rows]
        axes.barh(places, grey, height=0.8, color=_FLOAT_COLOUR, label="float model")
        for name in precisions:
            own = [i for i in places if rows[i].precision == name]
            times = [1e3 * (rows[i].seconds or 0.0) for i in own]
            axes.barh(own, times, height=0.45, color=colours[name], label=name)
        axes.set_yticks(places, [_literal(row.module or row.region) for row in rows], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("ms per call")
        axes.legend(frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]


def _longest(row: RegionRow) -> float:
    return max(row.seconds or 0.0, row.float_seconds or 0.0)


def _literal(label: str) -> str:
    """A label without math mode: matplotlib reads text between dollar signs as a formula."""
    return label.replace("$", r"\$")
