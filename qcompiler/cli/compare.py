"""`qcompiler compare`: two models on the same data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported
from qcompiler.cli.groups import grouped
from qcompiler.errors import ConfigurationError
from qcompiler.strict_json import json_text


@app.command()
@grouped
def compare(
    first: Annotated[str, typer.Argument(help="A model or artifact.", show_default=False)],
    second: Annotated[str, typer.Argument(help="What is compared with it.", show_default=False)],
    data: options.CompareData = None,
    batch: options.Batch = 1,
    images: options.Images = options.AS_THEY_ARE,
    seconds: Annotated[float, typer.Option(help="Of interleaved timing; 0 for none.")] = 1.0,
    as_json: options.Json = False,
) -> None:
    """Run two models on the same data: how far apart their outputs are, and which is faster."""
    with reported():
        from qcompiler.cli import arguments
        from qcompiler.compare import compare as compared

        one, two = arguments.artifact_of(first), arguments.artifact_of(second)
        feeds = arguments.data_of(data, one, batch, images)
        if feeds is None:
            raise ConfigurationError("there is nothing to compare on", fix="give --data")
        found = compared(one, two, feeds, seconds=seconds, progress=True)
        typer.echo(json_text(asdict(found)) if as_json else found.text(), nl=as_json)
