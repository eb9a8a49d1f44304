"""`Report`: what a compilation decided and gained, as data. Shown as text, HTML or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from qcompiler.errors import ConfigurationError
from qcompiler.files.reading import cause
from qcompiler.ir.diagnostics import Diagnostic
from qcompiler.printable import one_line
from qcompiler.report.network import Network
from qcompiler.report.plain import from_plain
from qcompiler.report.rows import (
    EngineRow,
    Figure,
    FrontierRow,
    OutputRow,
    PassRow,
    RegionRow,
    SampleCounts,
    VariantRow,
)
from qcompiler.report.values import ValueRow
from qcompiler.strict_json import json_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as PlotFigure


@dataclass(frozen=True)
class Report:
    """Everything a user wants to know about one compilation.

    Attributes:
        source: What was compiled, in words.
        target: Name of the target.
        summary: The outcome in one sentence, such as why float was returned.
        regions: One row for every region, in graph order.
        passes: One row for every pass execution.
        figures: Float against compiled.
        diagnostics: What passes, legality and verification found.
        warnings: What the user should know, in plain sentences.
        seconds: Wall time of the compilation.
        variants: Accuracy passes that were tried, in order.
        interrupted: Whether the user ended the search.
        frontier: Every configuration that was measured.
        values: Activations and weights that are integers.
        network: What the graph is drawn from.
        samples: How many feeds there were; None without calibration data.
        environment: Versions, processor, threads: what figures depend on.
        outputs: How every output is judged, and what the result keeps of it.
        engines: What became of each engine, where several were tried.
    """

    source: str
    target: str
    summary: str = ""
    regions: tuple[RegionRow, ...] = ()
    passes: tuple[PassRow, ...] = ()
    figures: tuple[Figure, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    variants: tuple[VariantRow, ...] = ()
    interrupted: bool = False
    frontier: tuple[FrontierRow, ...] = ()
    values: tuple[ValueRow, ...] = ()
    network: Network = field(default_factory=Network)
    samples: SampleCounts | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[OutputRow, ...] = ()
    engines: tuple[EngineRow, ...] = ()

    def __repr__(self) -> str:
        return one_line(f"<Report {self.source} for {self.target}: {self.summary}>")

    def _repr_html_(self) -> str:
        """What a notebook shows: the outcome, warnings and figures."""
        from qcompiler.report.brief import render_brief

        return render_brief(self)

    def figure(self, name: str) -> Figure | None:
        """The figure of this name, None if it was not taken."""
        return next((each for each in self.figures if each.name == name), None)

    def counts(self) -> dict[str, int]:
        """How many regions have each precision, the most frequent first."""
        found: dict[str, int] = {}
        for row in self.regions:
            found[row.precision] = found.get(row.precision, 0) + 1
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def text(self, width: int = 120, *, every: bool = False) -> str:
        """Tables for a terminal, without colours, at most `width` columns.

        The ten regions that take longest, with `every` all of them and the passes.
        """
        from qcompiler.report.tables import render_text

        return render_text(self, width, every)

    def html(self) -> str:
        """One self-contained page that loads nothing; docs/report.md says how to read it."""
        from qcompiler.report.html import render_html

        return render_html(self)

    def plot_frontier(self, axes: Axes | None = None) -> PlotFigure:
        """Signal over noise against time of every configuration; see `qcompiler.report.plots`.

        Raises:
            ConfigurationError: There is nothing to plot; so of every plot.
        """
        from qcompiler.report.plots import plot_frontier

        return plot_frontier(self, axes)

    def plot_sensitivity(self, most: int = 40, axes: Axes | None = None) -> PlotFigure:
        """Loss of each region alone, or the noise of its own roundings; the `most` largest."""
        from qcompiler.report.plots import plot_sensitivity

        return plot_sensitivity(self, most, axes)

    def plot_latency(self, most: int = 40, axes: Axes | None = None) -> PlotFigure:
        """Time of the `most` longest regions, beside float."""
        from qcompiler.report.plots import plot_latency

        return plot_latency(self, most, axes)

    def plot_sizes(self, most: int = 40, axes: Axes | None = None) -> PlotFigure:
        """Bytes of the `most` heaviest regions' weights, beside float."""
        from qcompiler.report.plots import plot_sizes

        return plot_sizes(self, most, axes)

    def plot_histograms(self, names: Sequence[str] = (), most: int = 12) -> PlotFigure:
        """Histograms with ranges of the named values, of the `most` noisiest by default."""
        from qcompiler.report.plots import plot_histograms

        return plot_histograms(self, names, most)

    def to_json(self) -> str:
        """Indented JSON, read back by `from_json`; see `json_text` for what is infinite."""
        return json_text(asdict(self)) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Reads what `to_json` wrote.

        Raises:
            ConfigurationError: Not a report.
        """
        try:
            return from_plain(cls, json.loads(text))
        except Exception as error:  # whatever json and a wrong structure lead to
            raise ConfigurationError(
                "this is not a report", why=cause(error), fix="give what `report.to_json()` wrote"
            ) from error
