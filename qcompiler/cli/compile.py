"""`qcompiler compile`: a model in, what the target runs out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import INTERRUPTED, complain, complain_of_format, reported
from qcompiler.cli.files import check_compile_files, rendered, write_beside
from qcompiler.cli.groups import grouped
from qcompiler.cli.printing import width

if TYPE_CHECKING:
    from qcompiler.compiled import Compiled


@app.command()
@grouped
def compile(  # noqa: A001 - the command's name
    model: options.Model,
    output: options.Output,
    target: options.TargetName = "onnxruntime",
    calibration: options.Data = None,
    batch: options.Batch = 1,
    images: options.Images = options.AS_THEY_ARE,
    scheme: options.Scheme = "auto",
    recipe: options.Recipe = "balanced",
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
            text = rendered(compiled.report, suffix, width(), on_screen=True)
            typer.echo(text, nl=False)
        if compiled.report.interrupted:
            complain(f"interrupted: {output} is the best that was found until then")
            raise typer.Exit(INTERRUPTED)


def _compiled(given: dict[str, Any]) -> Compiled:
    """Reads what was written, refuses what cannot be done, and compiles."""
    from qcompiler.cli import arguments
    from qcompiler.compile import compile as compile_model
    from qcompiler.config_file import read_config, with_config
    from qcompiler.ir.plan import Plan

    source = arguments.model_of(given["model"])
    feeds = arguments.data_of(given["calibration"], source, given["batch"], given["images"])
    check_compile_files(source, feeds, given)
    config = read_config(given["config"]) if given["config"] else {}
    evaluate = given["evaluate"]
    written = {
        "overrides": arguments.overrides_of(given["override"]),
        "ranges": arguments.ranges_of(given["ranges"]),
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
