"""`qcompiler demo`: a small trained network, compiled and compared with float."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported
from qcompiler.strict_json import json_text


@app.command()
def demo(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for model.onnx, data.npz, out.onnx and report.html."
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Compile a small network that comes along, and compare it with float."""
    with reported():
        from qcompiler.demo.run import run_demo, write_files
        from qcompiler.files.writing import write_text

        written = [] if output is None else write_files(output)
        compiled, found = run_demo()
        if output is not None:
            written.append(compiled.save(output / "out.onnx"))
            written.append(output / "report.html")
            write_text(written[-1], compiled.report.html())
        typer.echo(json_text(found.as_dict()) if as_json else found.text())
        if written and not as_json:
            typer.echo(f"written: {', '.join(map(str, written))}")
