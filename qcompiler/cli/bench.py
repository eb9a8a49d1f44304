"""`qcompiler bench`: models and artifacts timed beside each other."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from qcompiler.cli import options
from qcompiler.cli.app import app
from qcompiler.cli.console import reported
from qcompiler.cli.groups import grouped
from qcompiler.strict_json import json_text

if TYPE_CHECKING:
    from qcompiler.bench import Timed


@app.command()
@grouped
def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            help="ONNX files, artifacts, exported programs (.pt2), module:function.",
            show_default=False,
        ),
    ],
    data: options.CompareData = None,
    batch: options.Batch = 1,
    images: options.Images = options.AS_THEY_ARE,
    shape: options.Shapes = None,
    seconds: Annotated[float, typer.Option(help="Of interleaved timing.")] = 3.0,
    threads: Annotated[int | None, typer.Option(help="Of each engine.")] = None,
    as_json: options.Json = False,
) -> None:
    """Time models in interleaved rounds; without --data on made-up numbers."""
    with reported():
        from qcompiler.bench import bench as timed
        from qcompiler.cli import arguments
        from qcompiler.cli.numbers import shapes_of

        named = {each: arguments.model_of(each) for each in models}
        own = batch if data else 1  # without data, the size of the made-up feed
        feeds = arguments.data_of(data, next(iter(named.values())), own, images)
        feed = next(iter(feeds or []), None)
        found = timed(
            named, feed, seconds=seconds, threads=threads, batch=batch, shapes=shapes_of(shape)
        )
        rows = [{**asdict(each), "speed": each.latency.speed} for each in found]
        typer.echo(json_text(rows) if as_json else _table(found))


def _table(rows: tuple[Timed, ...]) -> str:
    from qcompiler.printable import one_line
    from qcompiler.report.numbers import show_bytes, show_seconds

    head = ("model", "engine", "size", "time", "speed", "95 % interval", "rounds")
    cells = [head]
    for each in rows:
        size = "" if each.nbytes is None else show_bytes(each.nbytes)
        time = show_seconds(each.latency.seconds)
        found = each.latency
        speed = "busy" if found.is_wide else found.speed
        beside = ("", "", "") if each is rows[0] else (speed, found.interval, str(found.rounds))
        cells.append((one_line(each.name), each.engine, size, time, *beside))
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["  ".join(f"{cell:{n}}" for cell, n in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)
