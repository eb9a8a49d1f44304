"""A group of options is one parameter of a command, and several options of the line."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import typer
from typer.testing import CliRunner

from qcompiler.cli.groups import grouped


class Place(NamedTuple):
    """Two options."""

    row: Annotated[int, typer.Option(help="Of the place.")] = 1
    column: Annotated[str | None, typer.Option("--col")] = None


DEFAULT = Place()
app = typer.Typer()
seen: list[tuple[str, Place, bool]] = []


@app.command()
@grouped
def put(name: str, place: Place = DEFAULT, twice: bool = False) -> None:
    """Puts something."""
    seen.append((name, place, twice))


def test_fields_are_options_and_come_as_one() -> None:
    for line in (["a"], ["b", "--col", "c", "--row", "3", "--twice"]):
        assert CliRunner().invoke(app, line).exit_code == 0
    assert seen == [("a", Place(), False), ("b", Place(3, "c"), True)]


def test_help_has_the_fields_and_not_the_group() -> None:
    text = CliRunner().invoke(app, ["--help"]).output
    assert "--row" in text
    assert "Puts something" in text
    assert "--place" not in text


def test_a_wrong_value_is_refused_as_any_other() -> None:
    assert CliRunner().invoke(app, ["a", "--row", "x"]).exit_code == 2
