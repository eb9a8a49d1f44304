"""Plots for notebooks: what is drawn is what the report holds."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from qcompiler.errors import ConfigurationError
from qcompiler.report.report import Report


def _lengths(figure: Figure) -> list[float]:
    return [bar.get_width() for bar in figure.axes[0].patches]  # type: ignore[attr-defined]


def _labels(figure: Figure) -> list[str]:
    return [each.get_text() for each in figure.axes[0].get_yticklabels()]


def test_latency_has_float_behind_the_result(report: Report) -> None:
    figure = report.plot_latency()
    assert _labels(figure) == [r"stem.\$0", "head"]
    assert _lengths(figure) == pytest.approx([2.0, 0.0, 1.0, 2e-3])


def test_the_largest_are_kept_in_graph_order(big: Report) -> None:
    figure = big.plot_sensitivity(most=3)
    assert _labels(figure) == [f"stages.{i // 16}.{i % 16}" for i in (1997, 1998, 1999)]
    assert sorted(_lengths(figure)) == pytest.approx([1.997e-3, 1.998e-3, 1.999e-3])


def test_sizes_in_kib(report: Report) -> None:
    assert _lengths(report.plot_sizes()) == pytest.approx([4.0, 1040 / 1024])


def test_frontier_in_ms_and_db(report: Report) -> None:
    rows = tuple(replace(row, seconds=0.002, loss=0.01, chosen=True) for row in report.frontier[:1])
    figure = replace(report, frontier=rows).plot_frontier()
    (dot,) = figure.axes[0].collections
    assert dot.get_offsets().tolist() == [[2.0, 20.0]]  # type: ignore[union-attr]


def test_histograms_mark_what_is_clipped(report: Report) -> None:
    values = tuple(replace(each, low=5.0) for each in report.values)
    figure = replace(report, values=values).plot_histograms(["x"])
    bars = figure.axes[0].patches[:3]
    assert [bar.get_height() for bar in bars] == [1, 0, 7]  # type: ignore[attr-defined]
    colours = [bar.get_facecolor() for bar in bars]
    assert colours[0] != colours[1] == colours[2]


def test_a_plot_goes_onto_given_axes(report: Report) -> None:
    figure = Figure()
    left, _ = figure.subplots(1, 2)
    assert report.plot_latency(axes=left) is figure


@pytest.mark.parametrize("name", ["frontier", "sensitivity", "latency", "sizes", "histograms"])
def test_nothing_to_plot_is_told(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"has no .* to plot"):
        getattr(Report("m", "t"), f"plot_{name}")()


def test_histograms_that_are_missing_say_why(report: Report) -> None:
    bare = tuple(replace(each, distribution=None) for each in report.values)
    with pytest.raises(ConfigurationError, match="has no histograms"):
        replace(report, values=bare).plot_histograms()
    with pytest.raises(ConfigurationError, match="has no values in integers"):
        replace(report, values=()).plot_histograms()


def test_an_unknown_value_is_told(report: Report) -> None:
    with pytest.raises(ConfigurationError, match="no histogram of 'nix'"):
        report.plot_histograms(["nix"])


@pytest.mark.filterwarnings("ignore:Glyph")  # matplotlib's font has no Chinese
@pytest.mark.parametrize("name", ["sensitivity", "latency", "histograms"])
def test_hostile_names_are_drawn(hostile: Report, name: str) -> None:
    found = tuple(replace(row, seconds=1.0, noise=0.1) for row in hostile.regions)
    report = replace(hostile, regions=found)
    if name == "histograms":
        with pytest.raises(ConfigurationError):
            report.plot_histograms()
        return
    figure = getattr(report, f"plot_{name}")()
    svg = figure._repr_svg_()
    assert "<script" not in svg
    assert "\x1b" not in svg


def test_matplotlib_comes_with_the_first_plot() -> None:
    code = (
        "import sys; from qcompiler.report.report import Report; r = Report('m', 't'); r.html();"
        "r.text(); r._repr_html_(); print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
