"""`qcompiler ops`: in which forms operators run."""

from __future__ import annotations

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported
from qcompiler.cli.printing import width


@app.command()
def ops(target: options.AnyTarget = None, as_json: options.Json = False) -> None:
    """Show in which quantized forms each operator runs on a target, or on all of them."""
    with reported():
        from qcompiler.cli import arguments
        from qcompiler.report.operators import support_text

        typer.echo(support_text(arguments.tables_of(target), as_json, width()), nl=False)
