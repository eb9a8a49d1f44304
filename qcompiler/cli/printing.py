"""What commands print: as wide as the terminal, or as JSON."""

from __future__ import annotations

from collections.abc import Mapping

import typer

from qcompiler.strict_json import json_text


def print_names(names: Mapping[str, str], as_json: bool) -> None:
    """Names with a line each, in two columns."""
    if as_json:
        typer.echo(json_text(dict(names)))
        return
    column = max(map(len, names), default=0)
    for name, line in names.items():
        typer.echo(f"{name:{column}}  {line}".rstrip())


def width() -> int:
    """Columns of the terminal, but 80 at least."""
    from rich.console import Console

    return max(80, Console().width)
