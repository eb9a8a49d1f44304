"""`qcompiler debug`: where a quantized model loses what it loses."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported
from qcompiler.cli.groups import grouped
from qcompiler.errors import ConfigurationError
from qcompiler.strict_json import json_text

if TYPE_CHECKING:
    from qcompiler.compiled import Compiled


@app.command()
@grouped
def debug(
    model: options.Model,
    artifact: Annotated[
        Path | None, typer.Argument(help="What was compiled of it; compiled anew without.")
    ] = None,
    target: options.TargetName = "onnxruntime",
    calibration: options.Data = None,
    batch: options.Batch = 1,
    images: options.Images = options.AS_THEY_ARE,
    scheme: options.Scheme = "int8",
    recipe: options.Recipe = "balanced",
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
        compiled = _compiled(given)
        if bisect is not None:
            found = compiled.bisect(bisect, progress=True)
            typer.echo(json_text(asdict(found)) if as_json else found.text())
            return
        report = compiled.debug(progress=True)
        typer.echo(report.to_json() if as_json else report.text(every), nl=False)


def _compiled(given: dict[str, Any]) -> Compiled:
    """What `debug` looks at: a model compiled as its options or an artifact's plan say.

    Raises:
        ConfigurationError: There are no feeds, or the artifact holds no plan.
    """
    from qcompiler.artifacts import load_compiled
    from qcompiler.cli import arguments
    from qcompiler.compile import compile as compile_model

    source = arguments.model_of(given["model"])
    feeds = arguments.data_of(given["calibration"], source, given["batch"], given["images"])
    if feeds is None:
        raise ConfigurationError("there is nothing to debug on", fix="give --calibration")
    target, plan = arguments.target_with(given["target"]), None
    if given["artifact"] is not None:
        stored = load_compiled(given["artifact"])
        if not stored.plan.choices:
            raise ConfigurationError(
                f"{given['artifact']} holds no plan, so nothing tells what its regions run as",
                fix="debug the model alone, with the options that it was compiled with",
            )
        target, plan = stored.target, stored.plan
    return compile_model(
        source,
        target=target,
        calibration=feeds,
        scheme=given["scheme"],
        recipe=given["recipe"],
        overrides=arguments.overrides_of(given["override"]),
        ranges=arguments.ranges_of(given["ranges"]),
        variants=arguments.variants_of(given["variants"]),
        plan=plan,
        progress=True,
    )
