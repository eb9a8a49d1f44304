"""`Report`: what a compilation decided and gained, as data. Shown as text, HTML or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qcompiler.errors import ConfigurationError
from qcompiler.files.reading import cause
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import module_path, source_line
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.regions import Region
from qcompiler.pipeline.pipeline import PipelineReport


@dataclass(frozen=True)
class RegionRow:
    """One region and what became of it.

    Attributes:
        region: Key of the region (name of its anchor node).
        ops: Its ops, such as `Conv+Relu`.
        module: Dotted module path in the source, if it is known.
        source: `file:line` of the user's code, if it is known.
        precision: `float32` or the name of the implementation.
        reason: Why it has this precision.
        seconds: Time of the compiled region for one call, measured or estimated.
        float_seconds: Time of its float form.
        loss: Metric loss when this region alone is quantized.
    """

    region: str
    ops: str
    precision: str
    module: str | None = None
    source: str | None = None
    reason: str = ""
    seconds: float | None = None
    float_seconds: float | None = None
    loss: float | None = None

    @property
    def is_float(self) -> bool:
        return self.precision == FLOAT


@dataclass(frozen=True)
class PassRow:
    """One execution of a pass: number from 1, name, wall seconds, edits made."""

    number: int
    name: str
    seconds: float
    edits: int


@dataclass(frozen=True)
class Figure:
    """One figure of the float model and of the compiled one.

    Attributes:
        name: `latency`, `size`, `accuracy`, ...
        unit: `s`, `bytes`, or empty for a plain number.
        float_value: The float model's.
        compiled_value: The compiled model's.
        better: `lower` or `higher`.
    """

    name: str
    unit: str
    float_value: float
    compiled_value: float
    better: str = "lower"

    def __post_init__(self) -> None:
        if self.better not in ("lower", "higher"):
            raise ConfigurationError(f"better is 'lower' or 'higher', not {self.better!r}")

    @property
    def gain(self) -> float | None:
        """How many times better: float over compiled where lower is better; None for plain ones."""
        if self.better == "higher" or self.compiled_value == 0:
            return None
        return self.float_value / self.compiled_value


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
        variants: Accuracy passes that were tried, with the loss before and after, a line each.
        interrupted: Whether the user ended the search.
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
    variants: tuple[str, ...] = ()
    interrupted: bool = False

    def __repr__(self) -> str:
        return f"<Report {self.source} for {self.target}: {self.summary}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the outcome, warnings and figures."""
        from qcompiler.report.html import render_brief

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
        """One self-contained page with a plot of time per layer."""
        from qcompiler.report.html import render_html

        return render_html(self)

    def to_json(self) -> str:
        """Indented JSON, read back by `from_json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Reads what `to_json` wrote.

        Raises:
            ConfigurationError: Not a report.
        """
        try:
            data = dict(json.loads(text))
            data["regions"] = tuple(RegionRow(**row) for row in data["regions"])
            data["passes"] = tuple(PassRow(**row) for row in data["passes"])
            data["figures"] = tuple(Figure(**row) for row in data["figures"])
            data["diagnostics"] = tuple(_diagnostic(row) for row in data["diagnostics"])
            data["warnings"] = tuple(data["warnings"])
            data["variants"] = tuple(data.get("variants", ()))
            return cls(**data)
        except Exception as error:  # whatever json and a wrong structure lead to
            raise ConfigurationError("this is not a report", why=cause(error)) from error


def region_rows(
    regions: Sequence[Region],
    plan: Plan | None,
    seconds: Mapping[str, float] | None = None,
    float_seconds: Mapping[str, float] | None = None,
) -> tuple[RegionRow, ...]:
    """Rows of a program's regions under a plan.

    Args:
        regions: As the target finds them.
        plan: Precisions and reasons; None means that everything is float.
        seconds: Measured time of the compiled regions by key; the plan's estimate if absent.
        float_seconds: Measured time of the float regions by key.
    """
    rows = []
    for region in regions:
        choice = plan.choices.get(region.key) if plan else None
        estimate = choice.seconds if choice else None
        others = choice.alternatives if choice else {}
        rows.append(
            RegionRow(
                region.key,
                "+".join(node.op_type for node in region.nodes),
                choice.precision if choice else FLOAT,
                module_path(region.anchor),
                source_line(region.anchor),
                choice.reason if choice else "",
                (seconds or {}).get(region.key, estimate),
                (float_seconds or {}).get(region.key, others.get(FLOAT)),
                choice.loss if choice else None,
            )
        )
    return tuple(rows)


def pass_rows(report: PipelineReport) -> tuple[PassRow, ...]:
    """Rows of a pipeline run, skipped passes left out."""
    return tuple(
        PassRow(run.number, run.report.name, run.seconds, run.report.edits.total)
        for run in report.runs
        if not run.skipped
    )


def worst_first(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Diagnostics without repetitions, the worst first, otherwise in the order found."""
    return tuple(sorted(dict.fromkeys(found), key=lambda each: -each.severity))


def _diagnostic(row: Mapping[str, Any]) -> Diagnostic:
    return Diagnostic(**{**row, "severity": Severity(row["severity"])})
