"""Plots of a report for notebooks, drawn with matplotlib.

Figures are made without pyplot: nothing global is changed, no window opens, none has to be closed.
A notebook shows a figure that a cell ends with; `figure.savefig(path)` writes it anywhere else.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qcompiler.errors import ConfigurationError
from qcompiler.printable import printable
from qcompiler.report.numbers import show_noise
from qcompiler.report.palette import colours
from qcompiler.report.report import Report
from qcompiler.report.rows import RegionRow
from qcompiler.report.values import ValueRow

_GREY = "#c9ccd1"
_CUT = "#d55e00"


class Plot(Figure):
    """A figure that a notebook shows without a backend."""

    def _repr_svg_(self) -> str:
        buffer = io.StringIO()
        self.savefig(buffer, format="svg")
        return buffer.getvalue()


def plot_frontier(report: Report, axes: Axes | None = None) -> Figure:
    """Signal over noise (dB) against time (ms) of every configuration that was measured.

    Raises:
        ConfigurationError: None was timed.
    """
    known = [row for row in report.frontier if row.seconds is not None and row.loss]
    if not known:
        raise _nothing("configurations with a time and a loss", "compile with scheme='auto'")
    drawn = _axes(axes, 6.5, 4)
    for row in known:
        assert row.seconds is not None
        assert row.loss is not None
        level = -10 * math.log10(row.loss)
        place, size = (1e3 * row.seconds, level), 130 if row.chosen else 45
        label = "returned" if row.chosen else "not beaten" if row.best else "beaten"
        colour = "#0072b2" if row.best or row.chosen else _GREY
        drawn.scatter([place[0]], [place[1]], s=size, color=colour, label=label, zorder=3)
        drawn.annotate(str(row.index), place, (6, 4), textcoords="offset points")
    drawn.set_xlabel("ms per run")
    drawn.set_ylabel("SQNR, dB")
    drawn.set_xlim(left=0)
    _legend_once(drawn)
    return _figure(drawn)


def plot_sensitivity(report: Report, most: int = 40, axes: Axes | None = None) -> Figure:
    """Loss of the outputs when one region alone is quantized; the `most` largest, in graph order.

    Where that was not measured: the noise that each region's own roundings add.

    Raises:
        ConfigurationError: Neither is known.
    """
    measured = [(row, max(row.losses.values())) for row in report.regions if row.losses]
    own = [(row, row.noise) for row in report.regions if row.noise]
    found = [each for each in measured or own if math.isfinite(each[1]) and each[1] > 0]
    if not found:
        raise _nothing("sensitivities or noise", "compile with calibration data")
    kept = _largest([row for row, _ in found], [value for _, value in found], most)
    values = {id(row): value for row, value in found}
    drawn = _bars(kept, {"": [values[id(row)] for row in kept]}, report, axes)
    drawn.set_xscale("log")
    what = "loss alone" if measured else "noise of its own roundings"
    drawn.set_xlabel(f"{what}, noise-to-signal ratio")
    return _figure(drawn)


def plot_latency(report: Report, most: int = 40, axes: Axes | None = None) -> Figure:
    """Time of the regions, in float in grey; the `most` longest, in graph order.

    Raises:
        ConfigurationError: No region was timed.
    """
    timed = [row for row in report.regions if row.seconds is not None or row.float_seconds]
    if not timed:
        raise _nothing("times of regions", "compile with calibration data")
    longest = [max(row.seconds or 0.0, row.float_seconds or 0.0) for row in timed]
    kept = _largest(timed, longest, most)
    float_times = [1e3 * (row.float_seconds or 0.0) for row in kept]
    times = [1e3 * (row.seconds or 0.0) for row in kept]
    drawn = _bars(kept, {"float": float_times, "": times}, report, axes)
    drawn.set_xlabel("ms per run")
    return _figure(drawn)


def plot_sizes(report: Report, most: int = 40, axes: Axes | None = None) -> Figure:
    """Bytes of the regions' weights, in float in grey; the `most` largest, in graph order.

    Raises:
        ConfigurationError: No region has weights.
    """
    heavy = [row for row in report.regions if row.float_nbytes]
    if not heavy:
        raise _nothing("regions with weights", "compile a model that has some")
    kept = _largest(heavy, [float(row.float_nbytes or 0) for row in heavy], most)
    before = [(row.float_nbytes or 0) / 1024 for row in kept]
    after = [(row.nbytes or 0) / 1024 for row in kept]
    drawn = _bars(kept, {"float": before, "": after}, report, axes)
    drawn.set_xlabel("KiB of weights")
    return _figure(drawn)


def plot_histograms(report: Report, names: Sequence[str] = (), most: int = 12) -> Figure:
    """What calibration saw of values, or a weight's elements, with the range of the integers.

    Args:
        report: What is plotted.
        names: Keys of values (`report.values`); by default the `most` noisiest.
        most: How many.

    Raises:
        ConfigurationError: No such value, nothing in integers, or calibration kept no histograms.
    """
    known = {each.key: each for each in report.values if each.distribution is not None}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigurationError(
            f"there is no histogram of {unknown[0]!r}", fix="use keys of `report.values`"
        )
    noisiest = sorted(known.values(), key=lambda each: -(each.noise or 0.0))[:most]
    chosen = [known[name] for name in names] or noisiest
    if not report.values:
        raise _nothing("values in integers", "compile with scheme='int8', or look why it is float")
    if not chosen:
        raise _nothing("histograms", "compile with recipe='balanced', whose observer keeps some")
    across = min(3, len(chosen))
    down = -(-len(chosen) // across)
    figure = Plot(figsize=(4 * across, 2.2 * down), layout="constrained")
    cells = figure.subplots(down, across, squeeze=False).flat
    for cell, value in zip(cells, chosen, strict=False):
        _histogram(cell, value)
    for cell in list(cells)[len(chosen) :]:
        cell.set_axis_off()
    return figure


def _histogram(axes: Axes, value: ValueRow) -> None:
    found = value.distribution
    assert found is not None
    width = (found.high - found.low) / len(found.counts)
    middles = [found.low + (i + 0.5) * width for i in range(len(found.counts))]
    inside = [value.low <= middle <= value.high for middle in middles]
    tones = ["#5d6675" if each else _CUT for each in inside]
    axes.bar(middles, found.counts, width, color=tones)
    axes.axvspan(value.low, value.high, color="#0072b2", alpha=0.12)
    axes.set_yscale("symlog", linthresh=max(1.0, max(found.counts) / 1000))
    axes.set_yticks([])
    room = (found.high - found.low) / 3
    left, right = min(found.low, value.low), max(found.high, value.high)
    axes.set_xlim(max(left, found.low - room), min(right, found.high + room))
    noise = f", {show_noise(value.noise)}" if value.noise is not None else ""
    axes.set_title(_literal(f"{_tail(value.key)}\n{value.type}{noise}"), fontsize=8)


def _bars(
    rows: Sequence[RegionRow],
    series: dict[str, list[float]],
    report: Report,
    axes: Axes | None,
) -> Axes:
    """Horizontal bars; the series without a name has the colours of the precisions."""
    drawn = _axes(axes, 9, 1 + 0.24 * len(rows))
    palette = colours(row.precision for row in report.regions)
    places = range(len(rows))
    for name, values in series.items():
        if name:
            drawn.barh(places, values, height=0.8, color=_GREY, label=name)
            continue
        for precision in dict.fromkeys(row.precision for row in rows):
            own = [i for i in places if rows[i].precision == precision]
            lengths = [values[i] for i in own]
            drawn.barh(own, lengths, height=0.45, color=palette[precision], label=precision)
    drawn.set_yticks(places, [_literal(_tail(row.name)) for row in rows], fontsize=8)
    drawn.invert_yaxis()
    _legend_once(drawn)
    return drawn


def _axes(axes: Axes | None, width: float, height: float) -> Axes:
    if axes is not None:
        return axes
    return Plot(figsize=(width, height), layout="constrained").subplots()


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def _legend_once(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    found = dict(zip(labels, handles, strict=True))
    axes.legend(found.values(), map(_literal, found), frameon=False, fontsize=8)


def _largest(rows: Sequence[RegionRow], values: Sequence[float], most: int) -> list[RegionRow]:
    """The rows of the largest values, in their own order."""
    ranked = sorted(range(len(rows)), key=lambda i: -values[i])[:most]
    return [rows[i] for i in sorted(ranked)]


def _tail(name: str, most: int = 44) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]


def _literal(label: str) -> str:
    """A label without math mode: matplotlib reads text between dollar signs as a formula."""
    return printable(label, keep="\n").replace("$", r"\$")


def _nothing(what: str, fix: str) -> ConfigurationError:
    return ConfigurationError(f"the report has no {what} to plot", fix=fix)
