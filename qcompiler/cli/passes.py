"""`qcompiler passes`: what passes there are, and what one of them does."""

from __future__ import annotations

from typing import Annotated

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported
from qcompiler.cli.printing import print_names
from qcompiler.strict_json import json_text

passes = typer.Typer(invoke_without_command=True, help="List and describe passes.")
app.add_typer(passes, name="passes")


@passes.callback()
def _passes(context: typer.Context, as_json: options.Json = False) -> None:
    """List all passes, those of plugins included, or describe one."""
    if context.invoked_subcommand is None:
        list_passes(as_json)


@passes.command("list")
def list_passes(as_json: options.Json = False) -> None:
    """List all passes, those of plugins included."""
    with reported():
        from qcompiler.pipeline import registry

        print_names(registry.passes(), as_json)


@passes.command()
def describe(
    name: Annotated[str, typer.Argument(help="Of a pass.", show_default=False)],
    as_json: options.Json = False,
) -> None:
    """Show what a pass does: options, what it needs and leaves, who registered it."""
    with reported():
        from qcompiler.pipeline.description import described

        found = described(name)
        typer.echo(json_text(found.as_dict()) if as_json else found.shown())
