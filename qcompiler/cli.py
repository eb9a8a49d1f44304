"""The command line: a thin shell over the library.

Exit codes: 0 done, 1 failed, 2 wrong usage or options, 130 interrupted. Messages go to standard
error, results to standard output. Files appear whole or not at all.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from qcompiler.console import guarded_output, reported
from qcompiler.errors import ConfigurationError

if TYPE_CHECKING:
    from qcompiler.report.report import Report
    from qcompiler.target.contract import Target

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Compiles trained networks into faster quantized ones.",
)

Model = Annotated[Path, typer.Argument(help="An ONNX file.", show_default=False)]
TargetName = Annotated[
    str, typer.Option("--target", "-t", help="Name of a target, or name{option=value}.")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def compile(  # noqa: A001 - the command's name
    model: Model,
    output: Output,
    target: TargetName = "onnxruntime",
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", "-c", help="An .npz file or a folder of them."),
    ] = None,
    batch: Annotated[int, typer.Option(help="Samples in one calibration feed.")] = 1,
    scheme: Annotated[str, typer.Option(help="auto, int8, dynamic, ...")] = "auto",
    recipe: Annotated[str, typer.Option(help="fast, balanced or best.")] = "balanced",
    override: Annotated[
        list[str] | None, typer.Option(help="PATTERN=PRECISION; may be repeated.")
    ] = None,
    plan: Annotated[Path | None, typer.Option(help="Precisions from an earlier run.")] = None,
    save_plan: Annotated[Path | None, typer.Option(help="Where to write the precisions.")] = None,
    report: Annotated[Path | None, typer.Option(help="Report as .html, .json or text.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Passes to run instead.")] = None,
    objective: Annotated[str, typer.Option(help="latency, size or energy-proxy.")] = "latency",
    max_loss: Annotated[float | None, typer.Option(help="Loss of accuracy allowed.")] = None,
    budget: Annotated[float | None, typer.Option(help="Seconds to search for.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the target.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Calibration is kept here, and resumed from here.")
    ] = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no report.")] = False,
) -> None:
    """Compile a model and write what the target runs."""
    with reported():
        from qcompiler.calibration.feed_files import FeedFiles
        from qcompiler.compile import compile as compile_model
        from qcompiler.files.writing import write_text
        from qcompiler.ir.plan import Plan

        feeds = FeedFiles(calibration, batch) if calibration else None
        written = {"--output": output, "--save-plan": save_plan, "--report": report}
        read = {"the plan": [plan] if plan else [], "the data": feeds.files if feeds else []}
        _check_files(model, {**written, "--checkpoint": checkpoint}, read)
        compiled = compile_model(
            model,
            target=_target(target, threads),
            calibration=feeds,
            scheme=scheme,
            overrides=_overrides(override or []),
            plan=Plan.read(plan) if plan else None,
            recipe=recipe,
            max_loss=max_loss,
            objective=objective,
            budget=budget,
            pipeline=pipeline,
            checkpoint=checkpoint,
            progress=not quiet,
        )
        compiled.save(output)
        if save_plan is not None and compiled.plan is not None:
            write_text(save_plan, compiled.plan.to_json())
        if report is not None:
            write_text(report, _rendered(compiled.report, report.suffix))
        if as_json or not quiet:
            typer.echo(_rendered(compiled.report, ".json" if as_json else "", _width()), nl=False)


@app.command()
def passes(as_json: Json = False) -> None:
    """List all passes, those of plugins included."""
    with reported():
        from qcompiler.pipeline import registry

        _print_names(registry.passes(), as_json)


@app.command()
def targets(as_json: Json = False) -> None:
    """List all targets, those of plugins included."""
    with reported():
        from qcompiler.pipeline import registry

        _print_names(registry.targets(), as_json)


@app.command()
def inspect(
    model: Model,
    target: TargetName = "onnxruntime",
    text: Annotated[bool, typer.Option("--text", help="Print the IR.")] = False,
    as_json: Json = False,
) -> None:
    """Show a model's inputs, outputs, ops and regions."""
    with reported():
        from qcompiler.frontends.load import load
        from qcompiler.ir.text import to_text
        from qcompiler.printable import printable
        from qcompiler.report.inspection import facts, show_facts

        program = load(model)
        if text:
            typer.echo(printable(to_text(program)), nl=False)
            return
        found = facts(program, _target(target, None))
        typer.echo(json.dumps(found, indent=2) if as_json else show_facts(found), nl=as_json)


@app.command()
def lint(
    model: Model,
    target: TargetName,
    fix: Annotated[bool, typer.Option("--fix", help="Rewrite what can be.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="For --fix.")] = None,
    as_json: Json = False,
) -> None:
    """Say what a target rejects or runs otherwise than meant; exit code 1 on errors."""
    with reported():
        from qcompiler.ir.diagnostics import Severity
        from qcompiler.lint import lint as findings

        chosen = _target(target, None)
        if fix:
            _fix(chosen, model, output)
            return
        found = findings(model, chosen)
        if as_json:
            typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        else:
            typer.echo("\n".join(map(str, found)) or "nothing found")
        if any(each.severity is Severity.ERROR for each in found):
            raise typer.Exit(1)


@app.command()
def run_pipeline(
    model: Model,
    pipeline: Annotated[str, typer.Argument(help="Such as 'canonicalize,fuse-conv-bn'.")],
    output: Output,
    dump: Annotated[Path | None, typer.Option(help="Folder for the IR after each pass.")] = None,
) -> None:
    """Run passes on a model, write it, and print what each of them did."""
    with reported():
        from qcompiler.execution.saving import write_onnx
        from qcompiler.frontends.load import load
        from qcompiler.pipeline.instruments import IRDump
        from qcompiler.pipeline.pipeline import Pipeline
        from qcompiler.report.report import pass_rows
        from qcompiler.report.tables import pass_table

        _check_files(model, {"--output": output})
        built = Pipeline.parse(pipeline, (IRDump(dump),) if dump else ())
        program = load(model)
        done = built.run(program)
        write_onnx(program.model, output)
        Console().print(pass_table(pass_rows(done)))
        for found in done.diagnostics:
            typer.echo(str(found))


def main() -> None:
    """The `qcompiler` command."""
    with guarded_output():
        app(prog_name="qcompiler")


def _check_files(
    model: Path, outputs: dict[str, Path | None], inputs: dict[str, list[Path]] | None = None
) -> None:
    """Refuses, before any work, to write what cannot be written or is read."""
    from qcompiler.files.conflicts import check_outputs
    from qcompiler.frontends.weight_files import model_files

    given = {name: path for name, path in outputs.items() if path is not None}
    check_outputs(given, {"the model": [model], **(inputs or {})})
    if any(os.path.lexists(path) for path in given.values()):
        check_outputs(given, {"the model's weights": model_files(model)})


def _target(written: str, threads: int | None) -> Target:
    from qcompiler.pipeline.options import option_fields
    from qcompiler.pipeline.targets import target_of

    target = target_of(written)
    if threads is None:
        return target
    if "threads" not in option_fields(type(target)):
        raise ConfigurationError(f"target '{target.name}' has no option 'threads'")
    options: dict[str, Any] = {"threads": threads}
    return replace(target, **options)


def _overrides(written: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in written:
        pattern, equals, precision = each.rpartition("=")
        if not (pattern and equals and precision):
            raise ConfigurationError(
                f"cannot read the override '{each}'", fix="write --override 'head.*=float32'"
            )
        found[pattern] = precision
    return found


def _rendered(report: Report, suffix: str, width: int = 120) -> str:
    if suffix in (".html", ".htm"):
        return report.html()
    return report.to_json() if suffix == ".json" else report.text(width)


def _fix(target: Target, model: Path, output: Path | None) -> None:
    from qcompiler.execution.saving import write_onnx
    from qcompiler.lint import Linter
    from qcompiler.printable import one_line

    if output is None:
        raise ConfigurationError("--fix needs a file to write", fix="add -o fixed.onnx")
    if not isinstance(target, Linter):
        raise ConfigurationError(f"target '{target.name}' has no fixes")
    _check_files(model, {"--output": output})
    fixed, done = target.fix(model)
    write_onnx(fixed, output)
    typer.echo("\n".join(one_line(str(each)) for each in done) or "nothing to fix")


def _print_names(names: dict[str, str], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(names, indent=2))
        return
    column = max(map(len, names), default=0)
    for name, line in names.items():
        typer.echo(f"{name:{column}}  {line}".rstrip())


def _width() -> int:
    return max(80, Console().width)


if __name__ == "__main__":
    main()
