"""`qcompiler run-pipeline`: passes by text, with the IR after each of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported
from qcompiler.cli.files import check_files
from qcompiler.strict_json import json_text


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
            typer.echo(json_text(found))
            return
        Console().print(pass_table(rows))
        for each in done.diagnostics:
            typer.echo(str(each))
