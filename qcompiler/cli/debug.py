"""`qcompiler debug`: where a quantized model loses what it loses."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported


@app.command()
def debug(
    model: options.Model,
    artifact: Annotated[
        Path | None, typer.Argument(help="What was compiled of it; compiled anew without.")
    ] = None,
    target: options.TargetName = "onnxruntime",
    calibration: options.Data = None,
    batch: options.Batch = 1,
    size: options.Size = None,
    layout: options.Layout = None,
    mean: options.Mean = None,
    std: options.Std = None,
    scale: options.Scale = None,
    scheme: Annotated[str, typer.Option(help="int8, auto, ...")] = "int8",
    recipe: Annotated[str, typer.Option(help="fast, balanced or best.")] = "balanced",
    override: options.Overrides = None,
    ranges: options.Ranges = None,
    variants: options.Variants = None,
    bisect: Annotated[
        float | None, typer.Option(help="Find what first leaves less than so many dB.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All rows.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show where a quantized model loses what it loses: by region, value and accuracy pass."""
    given = dict(locals())
    with reported():
        from qcompiler.cli import arguments

        compiled = arguments.debugged_with(
            given, arguments.images_of(size, layout, mean, std, scale)
        )
        if bisect is not None:
            found = compiled.bisect(bisect)
            typer.echo(json.dumps(asdict(found), indent=2) if as_json else found.text())
            return
        report = compiled.debug()
        typer.echo(report.to_json() if as_json else report.text(every), nl=False)
