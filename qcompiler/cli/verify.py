"""`qcompiler verify`: a saved artifact, checked again on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported
from qcompiler.cli.groups import grouped
from qcompiler.strict_json import json_text


@app.command()
@grouped
def verify(
    artifact: Annotated[Path, typer.Argument(help="What compile wrote.", show_default=False)],
    data: options.CompareData = None,
    batch: options.Batch = 1,
    images: options.Images = options.AS_THEY_ARE,
    as_json: options.Json = False,
) -> None:
    """Check an artifact's stamp, plan and kernels here, with --data its integers as well."""
    with reported():
        from qcompiler.artifact_check import check_artifact
        from qcompiler.artifacts import load_compiled
        from qcompiler.cli import arguments
        from qcompiler.printable import printable

        given = load_compiled(artifact) if data else None
        feeds = arguments.data_of(data, given, batch, images)
        found = check_artifact(artifact, feeds, progress=True)
        typer.echo(json_text(asdict(found)) if as_json else printable(found.text()))
        if not found.ok:
            raise typer.Exit(1)
