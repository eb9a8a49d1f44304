"""`qcompiler inspect`: what a model is made of, and what targets would do with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported
from qcompiler.strict_json import json_text

if TYPE_CHECKING:
    from qcompiler.ir.program import Program


@app.command()
def inspect(
    model: options.Model,
    target: options.TargetName = "onnxruntime",
    text: Annotated[bool, typer.Option("--text", help="Print the IR.")] = False,
    shape: options.Shapes = None,
    every: Annotated[bool, typer.Option("--all", help="A line for each region.")] = False,
    why: Annotated[str | None, typer.Option(help="Say why a node runs as it does.")] = None,
    as_json: options.Json = False,
) -> None:
    """Show a model's inputs, outputs, ops, size and regions, and what each target quantizes."""
    with reported():
        from qcompiler.cli import arguments
        from qcompiler.cli.numbers import shapes_of
        from qcompiler.execution.made_up import made_up
        from qcompiler.ir.text import to_text
        from qcompiler.printable import printable
        from qcompiler.report.inspection import facts
        from qcompiler.report.inspection_text import show_facts

        if why is not None:
            from qcompiler.why import why as reasons

            told = reasons(arguments.model_of(model), why, arguments.target_with(target))
            typer.echo(json_text(told) if as_json else "\n".join(map(printable, told)))
            return
        program, making = _read(model)
        if text:
            typer.echo(printable(to_text(program)), nl=False)
            return
        others = arguments.all_targets()
        feed = made_up(program.signature, 1, shapes_of(shape)) if shape else None
        found = facts(program, arguments.target_with(target), others, making, feed)
        typer.echo(json_text(found) if as_json else show_facts(found, every), nl=as_json)


def _read(written: str) -> tuple[Program, dict[str, str]]:
    """A model as a program, or what an artifact holds, and what that says of its making."""
    from qcompiler.artifacts import is_artifact, load_compiled
    from qcompiler.cli import arguments
    from qcompiler.execution.making import Making
    from qcompiler.execution.stamp import stamp_of
    from qcompiler.frontends.load import load

    given = arguments.model_of(written)
    if isinstance(given, Path) and is_artifact(given):
        opened = load_compiled(given)
        made = Making.of(opened.program, opened.target).facts
        return opened.program, {"compiled for": opened.target.name, **made}
    program = load(given)
    stamp = stamp_of(program.model.metadata_props)
    made = {} if stamp is None else {"compiled for": stamp.target, **stamp.making.facts}
    return program, made
