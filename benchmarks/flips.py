"""Flips of decisions: predicted from the margins of calibration, and counted on unseen data.

    python -m benchmarks.flips --zoo FOLDER [--scheme int8] [--rows 2000] [NAMES...]

Each classifier is compiled; its report predicts which share of decisions flips at the noise of
the result. Then float and the result run over the labelled evaluation data, which nothing has
seen, and what flips is counted, of the decisions that count (docs/loss.md). `ratio` is what the
prediction by the margins of these data is off by.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import qcompiler as qc
from benchmarks.models import Model, add_models, models_of
from benchmarks.zoo import session
from qcompiler.decisions.schemes import SCHEMES
from qcompiler.frontends.load import load
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.loss import sqnr_db
from qcompiler.search.goal import Goal

CLASSIFIERS = ("mobilenet_v2", "efficientnet_lite0", "magika", "resnet18_mnist", "ppocr_v2_cls")


@dataclass(frozen=True)
class Row:
    """One output of one model.

    Attributes:
        model: The model.
        loss: What the output is judged by.
        allowed: Bound, dB.
        kept: Of the result on the judged samples, dB.
        seen: Share predicted from them.
        unseen: Share predicted from the margins of the evaluation data, at its own noise.
        counted: Share counted there.
        decisions: Of how many.
    """

    model: str
    loss: str
    allowed: float
    kept: float
    seen: float
    unseen: float
    counted: float
    decisions: int

    def __str__(self) -> str:
        off = self.unseen / self.counted if self.counted else float("nan")
        return (
            f"{self.model:20} {self.loss:8} {self.allowed:6.1f} dB allowed {self.kept:6.1f} dB kept"
            f"  predicted {100 * self.seen:6.2f} % (unseen {100 * self.unseen:6.2f} %)"
            f"  counted {100 * self.counted:6.2f} % of {self.decisions}, ratio {off:.2f}"
        )


def rows_of(model: Model, scheme: str, most: int) -> list[Row]:
    """Predicted and counted flips of every output that decides."""
    compiled = qc.compile(model.path, "onnxruntime", model.feeds, scheme=scheme)
    plain, source = session(model.path), load(model.path)
    feeds: list[dict[str, Any]] = []

    def gathered(feed: dict[str, Any]) -> Sequence[Any]:
        feeds.append(feed)
        found: Sequence[Any] = plain.run(None, feed)
        return found

    model.evaluate(gathered)
    goal = Goal(SCHEMES["auto"])
    judge, found = Judge(
        feeds[:most],
        lambda feed: plain.run(None, dict(feed)),
        None,
        lambda reference, slices: goal.tolerances(source, reference, slices),
    ).settled(compiled.run)
    rows = []
    for position, (tolerance, told) in enumerate(
        zip(judge.tolerances, compiled.report.outputs, strict=True)
    ):
        verdict, foreseen = found.verdicts[position], tolerance.predicted(found.losses[position])
        if verdict is None or foreseen is None or told.predicted is None:
            continue
        rows.append(
            Row(
                model.name,
                tolerance.loss,
                sqnr_db(told.allowed or 0.0),
                sqnr_db(told.kept or 0.0),
                told.predicted,
                foreseen.share,
                verdict.share,
                verdict.decisions,
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_models(parser, labels=True)
    parser.add_argument("--scheme", default="int8")
    parser.add_argument("--rows", type=int, default=2000, help="Most feeds of evaluation data.")
    given = parser.parse_args()
    for model in models_of(given, usual=CLASSIFIERS):
        print(*rows_of(model, given.scheme, given.rows), sep="\n", flush=True)


if __name__ == "__main__":
    main()
