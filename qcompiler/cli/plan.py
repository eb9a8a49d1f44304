"""`qcompiler plan`: plans shown, beside each other, and changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported
from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.strict_json import json_text

if TYPE_CHECKING:
    from qcompiler.ir.plan import Plan

plan = typer.Typer(no_args_is_help=True, help="Show, compare and change plans.")
app.add_typer(plan, name="plan")

Holder = Annotated[
    Path, typer.Argument(help="A plan file, or an artifact that holds one.", show_default=False)
]


@plan.command()
def show(
    file: Holder,
    every: Annotated[bool, typer.Option("--all", help="All regions.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show the precision of every region, and why."""
    with reported():
        found = _plan_in(file)
        typer.echo(found.to_json() if as_json else _shown(found, every), nl=not as_json)


@plan.command()
def diff(first: Holder, second: Holder, as_json: options.Json = False) -> None:
    """Show in what two plans differ; exit code 1 where they do."""
    with reported():
        from qcompiler.ir.plan_edits import difference
        from qcompiler.printable import printable

        found = difference(_plan_in(first), _plan_in(second))
        told = json_text(found.as_dict()) if as_json else printable(found.text())
        typer.echo(told)
        if not found.is_empty:
            raise typer.Exit(1)


@plan.command()
def edit(
    file: Holder,
    output: options.Output,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="PATTERN=PRECISION: node, module or op:OpType, globs too; the editor without.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a plan with other precisions, given by --set or in your editor ($EDITOR)."""
    with reported():
        from qcompiler.cli.arguments import overrides_of
        from qcompiler.files.writing import check_destination, write_text
        from qcompiler.ir.plan import Plan
        from qcompiler.ir.plan_edits import difference, edited

        before = _plan_in(file)
        check_destination(output)
        if rules:
            given = overrides_of(rules, "--set")
            _require_known(before.target, given)
            after = edited(before, given)
        else:
            after = Plan.from_json(_in_editor(before.to_json()))
        write_text(output, after.to_json())
        changed = difference(before, after)
        typer.echo(json_text(changed.as_dict()) if as_json else changed.text())


def _plan_in(file: Path) -> Plan:
    """The plan of a plan file or of an artifact.

    Raises:
        ConfigurationError: It holds none.
    """
    from qcompiler.artifacts import load_compiled
    from qcompiler.files.reading import Door
    from qcompiler.ir.plan import Plan

    door = Door("the plan", ConfigurationError)
    door.require_file(file)
    with door.reading(file), file.open("rb") as opened:
        is_text = opened.read(64).lstrip()[:1] == b"{"
    if is_text or file.suffix == ".json":
        return Plan.read(file)
    found = load_compiled(file).plan
    if not found.choices:
        raise ConfigurationError(
            f"{file} holds no plan",
            why="it was not written by Compiled.save",
            fix="give a plan file",
        )
    return found


def _shown(found: Plan, every: bool) -> str:
    from qcompiler.ir.plan_edits import variants_told
    from qcompiler.ir.plan_places import label
    from qcompiler.printable import printable

    told = repr(found)[1:-1]
    lines = [told, f"accuracy passes: {variants_told(found.variants)}"]
    shown = list(found.choices.items())[: None if every else _SHOWN]
    names = [label(key, each) for key, each in shown]
    width = max(map(len, names), default=0)
    lines += [
        f"  {name:{width}}  {each.precision}  {each.reason}".rstrip()
        for name, (_, each) in zip(names, shown, strict=True)
    ]
    if len(shown) < len(found.choices):
        lines.append(f"  and {len(found.choices) - len(shown)} more: --all")
    return "\n".join(map(printable, lines))


def _in_editor(text: str) -> str:
    """The text as the user's editor leaves it.

    Raises:
        ConfigurationError: There is no editor, it failed, or it changed nothing.
    """
    import os
    import shlex
    import subprocess

    from qcompiler.files.scratch import scratch_folder

    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with scratch_folder() as folder:
        file = folder / "plan.json"
        file.write_text(text, encoding="utf-8")
        try:
            code = subprocess.run([*command, str(file)], check=False).returncode
        except OSError as error:
            raise ConfigurationError(
                f"cannot run the editor '{command[0]}'",
                why=str(error),
                fix="set EDITOR, or use --set REGION=PRECISION",
            ) from error
        changed = file.read_text(encoding="utf-8")
    if code or changed == text:
        raise ConfigurationError("the plan was left as it is", fix="save it in the editor")
    return changed


_SHOWN = 40
"""Regions that a terminal takes at once."""


def _require_known(target: str, rules: Mapping[str, str]) -> None:
    """Holds precisions against those that the plan's target has anywhere.

    Raises:
        ConfigurationError: One that it has not.
    """
    from qcompiler.cli.arguments import tables_of
    from qcompiler.decisions.wanted import families
    from qcompiler.ir.plan import FLOAT

    forms = {form.precision for table in tables_of(target).values() for form in table.forms}
    for pattern, precision in rules.items():
        if precision not in {FLOAT, *forms}:
            known = ", ".join(families([FLOAT, *sorted(forms)]))
            raise ConfigurationError(
                f"{target} has no precision {precision!r}",
                where=f"--set {pattern}={precision}",
                fix=did_you_mean(precision, [FLOAT, *sorted(forms)], f"there are {known}"),
            )
