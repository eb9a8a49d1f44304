"""`qcompiler inspect`: what a model is made of, and what targets would do with it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported


@app.command()
def inspect(
    model: options.Model,
    target: options.TargetName = "onnxruntime",
    text: Annotated[bool, typer.Option("--text", help="Print the IR.")] = False,
    why: Annotated[str | None, typer.Option(help="Say why a node runs as it does.")] = None,
    as_json: options.Json = False,
) -> None:
    """Show a model's inputs, outputs, ops, size and regions, and what each target quantizes."""
    with reported():
        from qcompiler.cli import arguments
        from qcompiler.frontends.load import load
        from qcompiler.ir.text import to_text
        from qcompiler.printable import printable
        from qcompiler.report.inspection import facts, show_facts

        if why is not None:
            from qcompiler.why import why as reasons

            told = reasons(arguments.model_of(model), why, arguments.target_with(target))
            typer.echo(json.dumps(told) if as_json else "\n".join(map(printable, told)))
            return
        program = load(arguments.model_of(model))
        if text:
            typer.echo(printable(to_text(program)), nl=False)
            return
        found = facts(program, arguments.target_with(target), arguments.all_targets())
        typer.echo(json.dumps(found, indent=2) if as_json else show_facts(found), nl=as_json)
