"""What accuracy passes are worth: a fixed scheme with and without them, over the zoo.

    python -m benchmarks.accuracy [NAMES...] --zoo FOLDER [--variants SET...] [--peers NAME...]

A set is a pipeline text of variants in order: `correct-bias` or
`use-ranges{method=minmax},correct-bias`; `none` is no variant, `recipe` those of the recipe. Each
set is a column. `tried` (the default) keeps a variant only where it lowers the loss on samples
that it was not fitted to, as `compile` does; `--forced` applies all, so that harm shows too. The
metric and the noise are those of the zoo's own labelled data, on which nothing was calibrated;
speed is not measured here. Every row is written to `--json` as soon as it is there.

A peer gets the same file and feeds: `ort_default` and `ort_u8` (`quantize_static`), or `nncf` with
`--nncf-python` of an environment that has it.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import qcompiler as qc
from benchmarks.models import Model, Run, add_models, models_of
from benchmarks.nncf_peer import nncf_file
from benchmarks.peers import PEERS
from benchmarks.zoo import session
from qcompiler.pipeline.pipeline import Pipeline


@dataclass(frozen=True)
class Cell:
    """What one set of variants, or one peer, came to on one model.

    Attributes:
        model: The model.
        column: The set of variants, or the peer.
        metric: The model's own metric; NaN where there are no labels.
        lost: How much worse than float, in the metric; negative for a gain.
        sqnr_db: Signal-to-noise ratio against float.
        seconds: Of compiling.
        note: Which variants were kept, or why it failed.
    """

    model: str
    column: str
    metric: float = math.nan
    lost: float = math.nan
    sqnr_db: float = math.nan
    seconds: float = 0.0
    note: str = ""


def compiled_for(model: Model, column: str, given: argparse.Namespace) -> qc.Compiled:
    """The model with a set of variants."""
    names = None if column == "recipe" else _texts(column)
    compiled = partial(qc.compile, model.path, given.target, model.feeds, recipe=given.recipe)
    if not given.forced or not names:
        return compiled(scheme=given.scheme, variants=names)
    plan = compiled(scheme=given.scheme, variants=()).plan
    return compiled(plan=replace(plan, variants=names))


def _texts(column: str) -> tuple[str, ...]:
    """The variants of a set, each as a text of its own."""
    if column == "none":
        return ()
    return tuple(str(Pipeline.of(each)) for each in Pipeline.parse(column).passes)


def measured(model: Model, column: str, given: argparse.Namespace, folder: Path) -> Cell:
    """One cell, but for what float scores."""
    started = time.perf_counter()
    note = ""
    if column in (*PEERS, "nncf"):
        run: Run = partial(session(_peer(model, column, given, folder)).run, None)
    else:
        compiled = compiled_for(model, column, given)
        run, note = compiled.run, ", ".join(compiled.plan.variants or ())
    seconds = time.perf_counter() - started
    scores = model.evaluate(run)
    metric, noise = scores.get(model.metric, math.nan), scores.get("sqnr_db", math.nan)
    return Cell(model.name, column, metric, math.nan, noise, seconds, note)


def _peer(model: Model, name: str, given: argparse.Namespace, folder: Path) -> Path:
    destination = folder / f"{model.name}-{name}.onnx"
    if name in PEERS:
        return PEERS[name](model.path, model.feeds, destination)
    if given.nncf_python is None:
        raise SystemExit("give --nncf-python: NNCF needs an environment of its own")
    return nncf_file(model, given.nncf_python, destination)


def cells(model: Model, given: argparse.Namespace, folder: Path) -> list[Cell]:
    """All columns of one model, float first."""
    sign = 1.0 if model.higher_is_better else -1.0
    plain = model.evaluate(partial(session(model.path).run, None)).get(model.metric, math.nan)
    found = [Cell(model.name, "float", plain, 0.0, math.inf)]
    for column in (*given.variants, *given.peers):
        try:
            cell = measured(model, column, given, folder)
        except Exception as error:  # noqa: BLE001 - a failure is a result
            cell = Cell(model.name, column, note=f"{type(error).__name__}: {error}"[:300])
        found.append(replace(cell, lost=sign * (plain - cell.metric)))
        print(line(found[-1]), flush=True)
    return found


def line(cell: Cell) -> str:
    """A cell on a line of its own, as it is measured."""
    return (
        f"{cell.model:18s} {cell.column:40s} {cell.metric:7.4f} lost {cell.lost:+.4f}  "
        f"{cell.sqnr_db:5.1f} dB  {cell.seconds:5.1f} s  {cell.note}"
    )


def table(found: Sequence[Cell]) -> str:
    """Rows = models, columns = sets: metric and dB."""
    columns = list(dict.fromkeys(cell.column for cell in found))
    by_place: Mapping[tuple[str, str], Cell] = {(c.model, c.column): c for c in found}
    lines = [f"| model | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(cell.model for cell in found):
        shown = [by_place.get((name, column)) for column in columns]
        texts = ["–" if cell is None else _short(cell) for cell in shown]
        lines.append(f"| {name} | {' | '.join(texts)} |")
    return "\n".join(lines)


def _short(cell: Cell) -> str:
    if math.isnan(cell.metric) and math.isnan(cell.sqnr_db):
        return "failed"
    if math.isinf(cell.sqnr_db):
        return f"{cell.metric:.4f}"
    return f"{cell.metric:.4f} / {cell.sqnr_db:.1f}"


def main() -> None:
    """Prints every cell as it is measured, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser, labels=True)
    parser.add_argument("--variants", nargs="+", default=["none", "recipe"])
    parser.add_argument("--forced", action="store_true", help="apply variants that do not help too")
    parser.add_argument("--peers", nargs="*", default=[], choices=[*PEERS, "nncf"])
    parser.add_argument("--nncf-python", type=Path)
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--scheme", default="int8")
    parser.add_argument("--recipe", default="balanced")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: list[Cell] = []
    with tempfile.TemporaryDirectory() as folder:
        for model in models_of(given):
            found += cells(model, given, Path(folder))
            if given.json:
                given.json.parent.mkdir(parents=True, exist_ok=True)
                given.json.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
