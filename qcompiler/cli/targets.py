"""`qcompiler targets`: what there is to compile for."""

from __future__ import annotations

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported
from qcompiler.cli.printing import print_names


@app.command()
def targets(as_json: options.Json = False) -> None:
    """List all targets, those of plugins included."""
    with reported():
        from qcompiler.pipeline import registry

        print_names(registry.targets(), as_json)
