"""`qcompiler lint`: what a target rejects, and what can be rewritten."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported
from qcompiler.cli.files import check_files
from qcompiler.errors import ConfigurationError
from qcompiler.strict_json import json_text

if TYPE_CHECKING:
    from qcompiler.target.contract import Target


@app.command()
def lint(
    model: options.OnnxFile,
    target: options.TargetName,
    fix: Annotated[bool, typer.Option("--fix", help="Rewrite what can be.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="For --fix.")] = None,
    as_json: options.Json = False,
) -> None:
    """Say what a target rejects or runs otherwise than meant; exit code 1 on errors."""
    with reported():
        from qcompiler.cli import arguments
        from qcompiler.ir.diagnostics import Severity
        from qcompiler.lint import lint as findings

        chosen = arguments.target_with(target)
        if fix:
            _fix(chosen, model, output)
            return
        found = findings(model, chosen)
        if as_json:
            typer.echo(json_text([asdict(each) for each in found]))
        else:
            typer.echo("\n".join(map(str, found)) or "nothing found")
        if any(each.severity is Severity.ERROR for each in found):
            raise typer.Exit(1)


def _fix(target: Target, model: Path, output: Path | None) -> None:
    from qcompiler.execution.saving import write_onnx
    from qcompiler.lint import Linter
    from qcompiler.printable import one_line

    if output is None:
        raise ConfigurationError("--fix needs a file to write", fix="add -o fixed.onnx")
    if not isinstance(target, Linter):
        raise ConfigurationError(
            f"target '{target.name}' has no fixes", fix="leave --fix out, or take --target tensorrt"
        )
    check_files(model, {"--output": output})
    fixed, done = target.fix(model)
    write_onnx(fixed, output)
    typer.echo("\n".join(one_line(str(each)) for each in done) or "nothing to fix")
