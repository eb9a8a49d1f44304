"""The application that commands are added to, and its options."""

from __future__ import annotations

from typing import Annotated

import typer

from qcompiler.cli.console import DEBUG

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compiles trained networks into faster quantized ones.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (a search that is "
    "interrupted writes the best that it found).",
)


def _version(wanted: bool) -> None:
    if wanted:
        from qcompiler.version import own_version

        typer.echo(f"qcompiler {own_version()}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    DEBUG.set(debug)
