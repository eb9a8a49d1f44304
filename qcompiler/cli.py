"""The command line: a thin shell over the library.

Exit codes: 0 done, 1 failed, 2 wrong usage or options, 130 interrupted. An interrupted search still
writes the best that it found; interrupted earlier, nothing is written. Messages go to standard
error, results to standard output. Files appear whole or not at all.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qcompiler import command_options as options
from qcompiler.command_files import check_compile_files, check_files, rendered, write_beside
from qcompiler.console import (
    DEBUG,
    INTERRUPTED,
    complain,
    complain_of_format,
    guarded_output,
    reported,
    with_debug_first,
)
from qcompiler.errors import ConfigurationError

if TYPE_CHECKING:
    from qcompiler.calibration.images import Preprocessing
    from qcompiler.compiled import Compiled
    from qcompiler.target.contract import Target

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


@app.command()
def compile(  # noqa: A001 - the command's name
    model: options.Model,
    output: options.Output,
    target: options.TargetName = "onnxruntime",
    calibration: options.Data = None,
    batch: options.Batch = 1,
    size: options.Size = None,
    layout: options.Layout = None,
    mean: options.Mean = None,
    std: options.Std = None,
    scale: options.Scale = None,
    scheme: Annotated[str, typer.Option(help="auto, int8, dynamic, ...")] = "auto",
    recipe: Annotated[str, typer.Option(help="fast, balanced or best.")] = "balanced",
    override: options.Overrides = None,
    ranges: options.Ranges = None,
    config: options.Config = None,
    plan: Annotated[Path | None, typer.Option(help="Precisions from an earlier run.")] = None,
    save_plan: Annotated[Path | None, typer.Option(help="Where to write the precisions.")] = None,
    report: Annotated[Path | None, typer.Option(help="Report as .html, .json or .txt.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Passes to run instead.")] = None,
    variants: options.Variants = None,
    dynamic: options.Dynamic = None,
    evaluate: options.Evaluate = None,
    objective: Annotated[str, typer.Option(help="latency, size or energy-proxy.")] = "latency",
    loss: options.Loss = None,
    max_loss: Annotated[float | None, typer.Option(help="Loss of accuracy allowed.")] = None,
    budget: Annotated[float | None, typer.Option(help="Seconds to search for.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the target.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Calibration is kept here, and resumed from here.")
    ] = None,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no report.")] = False,
) -> None:
    """Compile a model and write what the target runs."""
    given = dict(locals())
    with reported():
        compiled = _compiled(given)
        compiled.save(output)
        complain_of_format(compiled, output)
        write_beside(compiled, save_plan, report)
        if as_json or not quiet:
            suffix = ".json" if as_json else ""
            text = rendered(compiled.report, suffix, _width(), on_screen=True)
            typer.echo(text, nl=False)
        if compiled.report.interrupted:
            complain(f"interrupted: {output} is the best that was found until then")
            raise typer.Exit(INTERRUPTED)


@app.command()
def passes(as_json: options.Json = False) -> None:
    """List all passes, those of plugins included."""
    with reported():
        from qcompiler.pipeline import registry

        _print_names(registry.passes(), as_json)


@app.command()
def targets(as_json: options.Json = False) -> None:
    """List all targets, those of plugins included."""
    with reported():
        from qcompiler.pipeline import registry

        _print_names(registry.targets(), as_json)


@app.command()
def ops(target: options.AnyTarget = None, as_json: options.Json = False) -> None:
    """Show in which quantized forms each operator runs on a target, or on all of them."""
    with reported():
        from qcompiler import arguments
        from qcompiler.report.operators import support_text

        typer.echo(support_text(arguments.tables_of(target), as_json, _width()), nl=False)


@app.command()
def inspect(
    model: options.Model,
    target: options.TargetName = "onnxruntime",
    text: Annotated[bool, typer.Option("--text", help="Print the IR.")] = False,
    why: Annotated[str | None, typer.Option(help="Say why a node runs as it does.")] = None,
    as_json: options.Json = False,
) -> None:
    """Show a model's inputs, outputs, ops and regions."""
    with reported():
        from qcompiler import arguments
        from qcompiler.frontends.load import load
        from qcompiler.ir.text import to_text
        from qcompiler.printable import printable
        from qcompiler.report.inspection import facts, show_facts

        if why is not None:
            from qcompiler.why import why as reasons

            told = reasons(arguments.model_of(model), why, arguments.target_with(target, None))
            typer.echo(json.dumps(told) if as_json else "\n".join(map(printable, told)))
            return
        program = load(arguments.model_of(model))
        if text:
            typer.echo(printable(to_text(program)), nl=False)
            return
        found = facts(program, arguments.target_with(target, None))
        typer.echo(json.dumps(found, indent=2) if as_json else show_facts(found), nl=as_json)


@app.command()
def lint(
    model: options.OnnxFile,
    target: options.TargetName,
    fix: Annotated[bool, typer.Option("--fix", help="Rewrite what can be.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="For --fix.")] = None,
    as_json: options.Json = False,
) -> None:
    """Say what a target rejects or runs otherwise than meant; exit code 1 on errors."""
    with reported():
        from qcompiler import arguments
        from qcompiler.ir.diagnostics import Severity
        from qcompiler.lint import lint as findings

        chosen = arguments.target_with(target, None)
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
    model: options.OnnxFile,
    pipeline: Annotated[str, typer.Argument(help="Such as 'canonicalize,fuse-conv-bn'.")],
    output: options.Output,
    dump: Annotated[Path | None, typer.Option(help="Folder for the IR after each pass.")] = None,
    as_json: options.Json = False,
) -> None:
    """Run passes on a model, write it, and print what each of them did."""
    with reported():
        from rich.console import Console

        from qcompiler.execution.saving import write_onnx
        from qcompiler.frontends.load import load
        from qcompiler.outcome.rows import pass_rows
        from qcompiler.pipeline.instruments import IRDump
        from qcompiler.pipeline.pipeline import Pipeline
        from qcompiler.report.long_tables import pass_table

        check_files(model, {"--output": output})
        built = Pipeline.parse(pipeline, (IRDump(dump),) if dump else ())
        program = load(model)
        done = built.run(program)
        write_onnx(program.model, output)
        rows = pass_rows(done)
        if as_json:
            found = {
                "passes": list(map(asdict, rows)),
                "diagnostics": list(map(asdict, done.diagnostics)),
            }
            typer.echo(json.dumps(found, indent=2))
            return
        Console().print(pass_table(rows))
        for each in done.diagnostics:
            typer.echo(str(each))


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A model or artifact.", show_default=False)],
    second: Annotated[str, typer.Argument(help="What is compared with it.", show_default=False)],
    data: options.CompareData = None,
    batch: options.Batch = 1,
    size: options.Size = None,
    layout: options.Layout = None,
    mean: options.Mean = None,
    std: options.Std = None,
    scale: options.Scale = None,
    seconds: Annotated[float, typer.Option(help="Of interleaved timing; 0 for none.")] = 1.0,
    as_json: options.Json = False,
) -> None:
    """Run two models on the same data: how far apart their outputs are, and which is faster."""
    with reported():
        from qcompiler import arguments
        from qcompiler.compare import compare as compared

        images = _images(size, layout, mean, std, scale)
        one, two = arguments.artifact_of(first), arguments.artifact_of(second)
        feeds = arguments.data_of(data or [], one, batch, images)
        if feeds is None:
            raise ConfigurationError("there is nothing to compare on", fix="give --data")
        found = compared(one, two, feeds, seconds=seconds)
        typer.echo(json.dumps(asdict(found), indent=2) if as_json else found.text(), nl=as_json)


@app.command()
def debug(
    model: options.Model,
    artifact: Annotated[
        Path | None, typer.Argument(help="What was compiled of it; compiled anew without.")
    ] = None,
    target: options.TargetName = "onnxruntime",
    calibration: options.Data = None,
    batch: options.Batch = 1,
    size: options.Size = None,
    layout: options.Layout = None,
    mean: options.Mean = None,
    std: options.Std = None,
    scale: options.Scale = None,
    scheme: Annotated[str, typer.Option(help="int8, auto, ...")] = "int8",
    recipe: Annotated[str, typer.Option(help="fast, balanced or best.")] = "balanced",
    override: options.Overrides = None,
    ranges: options.Ranges = None,
    variants: options.Variants = None,
    bisect: Annotated[
        float | None, typer.Option(help="Find what first leaves less than so many dB.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All rows.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show where a quantized model loses what it loses: by region, value and accuracy pass."""
    given = dict(locals())
    with reported():
        from qcompiler.arguments import debugged_with

        compiled = debugged_with(given, _images(size, layout, mean, std, scale))
        if bisect is not None:
            found = compiled.bisect(bisect)
            typer.echo(json.dumps(asdict(found), indent=2) if as_json else found.text())
            return
        report = compiled.debug()
        typer.echo(report.to_json() if as_json else report.text(every), nl=False)


def main() -> None:
    """The `qcompiler` command."""
    with guarded_output():
        app(with_debug_first(sys.argv[1:]), prog_name="qcompiler")


def _compiled(given: dict[str, Any]) -> Compiled:
    """Reads what was written, refuses what cannot be done, and compiles."""
    from qcompiler import arguments
    from qcompiler.compile import compile as compile_model
    from qcompiler.config_file import read_config, with_config
    from qcompiler.ir.plan import Plan

    source = arguments.model_of(given["model"])
    images = _images(*(given[name] for name in ("size", "layout", "mean", "std", "scale")))
    feeds = arguments.data_of(given["calibration"] or [], source, given["batch"], images)
    check_compile_files(source, feeds, given)
    config = read_config(given["config"]) if given["config"] else {}
    evaluate = given["evaluate"]
    written = {
        "overrides": arguments.overrides_of(given["override"] or []),
        "ranges": arguments.ranges_of(given["ranges"] or []),
        "variants": arguments.variants_of(given["variants"]),
        "loss": arguments.losses_of(given["loss"]),
        **{name: given[name] for name in _PASSED_ON},
    }
    asked = with_config(written, config)
    asked["target"] = arguments.target_with(asked["target"], given["threads"], several=True)
    asked["plan"] = Plan.read(asked["plan"]) if asked["plan"] else None
    return compile_model(
        source,
        calibration=feeds,
        evaluate=arguments.function_of(evaluate, "--evaluate") if evaluate else None,
        checkpoint=given["checkpoint"],
        progress=not given["quiet"],
        **asked,
    )


_PASSED_ON = (
    "target", "dynamic", "scheme", "recipe", "plan", "max_loss", "objective", "budget", "pipeline"
)  # fmt: skip


def _images(
    size: str | None, layout: str | None, mean: str | None, std: str | None, scale: float | None
) -> Preprocessing:
    from qcompiler import arguments
    from qcompiler.calibration.images import Preprocessing

    means, stds = arguments.numbers_of(mean, "--mean"), arguments.numbers_of(std, "--std")
    return Preprocessing(arguments.size_of(size), layout, means, stds, scale)


def _fix(target: Target, model: Path, output: Path | None) -> None:
    from qcompiler.execution.saving import write_onnx
    from qcompiler.lint import Linter
    from qcompiler.printable import one_line

    if output is None:
        raise ConfigurationError("--fix needs a file to write", fix="add -o fixed.onnx")
    if not isinstance(target, Linter):
        raise ConfigurationError(f"target '{target.name}' has no fixes")
    check_files(model, {"--output": output})
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
    from rich.console import Console

    return max(80, Console().width)


if __name__ == "__main__":
    main()
