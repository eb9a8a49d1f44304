"""Files that the command line writes: refused before any work, rendered by their suffix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcompiler.cli.console import complain
from qcompiler.errors import ConfigurationError

if TYPE_CHECKING:
    from qcompiler.compiled import Compiled
    from qcompiler.report.report import Report

_REPORTS = (".html", ".htm", ".json", ".txt", ".md", ".log", "")


def check_compile_files(source: Any, feeds: Any, given: dict[str, Any]) -> None:
    """Refuses what `compile` cannot write, or would write over what it reads."""
    from qcompiler.calibration.feed_files import FeedFiles

    data = feeds.files if isinstance(feeds, FeedFiles) else []
    if isinstance(feeds, FeedFiles):
        for array, name in feeds.renamed.items():
            complain(f"note: the array '{array}' is taken as the input '{name}', the only one")
    written = {
        "--output": given["output"],
        "--save-plan": given["save_plan"],
        "--report": given["report"],
        "--checkpoint": given["checkpoint"],
    }
    read = {"the plan": [given["plan"]] if given["plan"] else [], "the data": data}
    model = Path(given["model"])
    check_files(model if source == model or model.suffix == ".pt2" else None, written, read)
    check_suffix(given["report"])


def check_suffix(report: Path | None) -> None:
    """Refuses a report under a suffix that stands for no form of it."""
    if report is not None and report.suffix.lower() not in _REPORTS:
        raise ConfigurationError(
            f"a report cannot be written as '{report.suffix}'",
            where=f"--report {report}",
            fix="name it .html (a page, which a browser prints as PDF), .json or .txt",
        )


def write_beside(compiled: Compiled, plan: Path | None, report: Path | None) -> None:
    """Writes the plan and the report of a compilation."""
    from qcompiler.files.writing import write_text

    if plan is not None:
        write_text(plan, compiled.plan.to_json())
    if report is not None:
        write_text(report, rendered(compiled.report, report.suffix.lower()))


def check_files(
    model: Path | None,
    outputs: dict[str, Path | None],
    inputs: dict[str, list[Path]] | None = None,
) -> None:
    """Refuses, before any work, to write what cannot be written or is read."""
    from qcompiler.files.conflicts import check_outputs
    from qcompiler.frontends.weight_files import model_files

    given = {name: path for name, path in outputs.items() if path is not None}
    for name, path in given.items():
        if str(path) == "-":
            raise ConfigurationError(f"{name} cannot be standard output", fix="name a file")
    check_outputs(given, {"the model": [model] if model else [], **(inputs or {})})
    if model is not None and any(os.path.lexists(path) for path in given.values()):
        check_outputs(given, {"the model's weights": model_files(model)})


def rendered(report: Report, suffix: str, width: int = 120, *, on_screen: bool = False) -> str:
    """A report as its suffix says."""
    if suffix in (".html", ".htm"):
        return report.html()
    if suffix == ".json":
        return report.to_json()
    return report.text(width, every=not on_screen)
