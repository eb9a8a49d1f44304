"""Compiled against float on one engine, over a zoo of trained models.

    python -m benchmarks.zoo --zoo FOLDER [--target onnxruntime] [--recipe balanced] [NAMES...]

Speed is a ratio of low quantiles of one interleaved run: the model's own file in float against the
compiled file as saved, with default session options and once more with one thread; where the
machine is busy, the ends of its interval.
With `--max-loss L` the model's own metric on its labelled data is `evaluate`, as a user with
labels would call it; without, no label is seen. Without `--zoo`, the models come from pinned PyPI
packages. On other targets than ONNX Runtime, float is the model lowered as it is (`cpu`, or
`cpu{threads=1}`: on ONNX Runtime), and both run in this process.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

import qcompiler as qc
from benchmarks.models import Model, Run, add_models, models_of
from benchmarks.peers import PEERS
from qcompiler.execution.timing import Latency, compare_latency
from qcompiler.pipeline.targets import members_of, target_of


def session(path: Path, threads: int = 0) -> ort.InferenceSession:
    """A session with default options, but quiet; `threads` other than 0 limits its pool.

    Its threads stop spinning when a run ends: else they take the cores of the model timed next.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def measure(model: Model, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One row: metrics, speed-ups, wall time of compile."""
    started = time.perf_counter()
    compiled = qc.compile(
        model.path,
        given.target,
        model.feeds,
        recipe=given.recipe,
        scheme=given.scheme,
        **_asked(model, given.max_loss),
    )
    row: dict[str, Any] = {
        "model": model.name,
        "compile_s": time.perf_counter() - started,
        "summary": compiled.report.summary,
    }
    if given.target != "onnxruntime":
        engine = members_of(target_of(given.target, several=True)).targets[0]
        plain = engine.lower(qc.load(model.path))
        return row | _scores({"float": plain.run, "qcompiler": compiled.run}, model)
    files = {"float": model.path, "qcompiler": compiled.save(folder / f"{model.name}.onnx")}
    if given.peers:
        for name, quantize in PEERS.items():
            try:
                files[name] = quantize(
                    model.path, model.feeds, folder / f"{model.name}-{name}.onnx"
                )
            except Exception as error:  # noqa: BLE001 - a peer's failure is a result
                row[f"{name}_error"] = f"{type(error).__name__}: {error}"[:200]
    row |= _rated(_runs(files, 1), model, "_1")
    return row | _scores(_runs(files), model)


def _runs(files: dict[str, Path], threads: int = 0) -> dict[str, Run]:
    return {name: partial(session(path, threads).run, None) for name, path in files.items()}


def _asked(model: Model, max_loss: float | None) -> dict[str, Any]:
    """What a user with labels adds to the call: the metric, and how much of it may go."""
    if max_loss is None or not model.metric:
        return {}
    sign = 1.0 if model.higher_is_better else -1.0

    def score(run: Run) -> float:
        return sign * model.evaluate(run)[model.metric]

    return {"evaluate": score, "max_loss": max_loss}


def _scores(runs: dict[str, Run], model: Model) -> dict[str, Any]:
    """Speed-ups and metrics of everything that runs."""
    row = _rated(runs, model)
    for name, run in runs.items():
        scores = model.evaluate(run)
        row |= {f"{name}_{key}": scores[key] for key in (model.metric, "sqnr_db") if key in scores}
    return row


def speeds(runs: dict[str, Run], model: Model) -> dict[str, Latency]:
    """Times against float's by name."""
    feeds = model.feeds[:: max(1, len(model.feeds) // 8)][:8]
    parts = {name: [partial(run, feed) for feed in feeds] for name, run in runs.items()}
    timed = compare_latency(parts, budget_seconds=6.0, min_rounds=21, decisive=0.005)
    return {name: latency for name, latency in timed.items() if name != "float"}


def _rated(runs: dict[str, Run], model: Model, suffix: str = "") -> dict[str, Any]:
    """Speed-ups, with what stands behind them, as entries of a row."""
    row: dict[str, Any] = {}
    for name, found in speeds(runs, model).items():
        row[f"{name}_speed{suffix}"] = 1 / found.ratio
        row[f"{name}_shown{suffix}"] = found.speed
    return row


def loss(row: dict[str, Any], model: Model, name: str) -> float:
    """Points of the metric lost against float; negative for a gain."""
    if not model.metric:
        return math.nan
    change = row[f"float_{model.metric}"] - row[f"{name}_{model.metric}"]
    return float(change if model.higher_is_better else -change)


def _line(row: dict[str, Any]) -> str:
    alone = row.get("qcompiler_shown_1")
    return (
        f"{row['model']:20s} {row['qcompiler_shown']}  "
        + (f"1 thread {alone}  " if alone else "")
        + f"loss {row['loss']:+.4f}  SQNR {row.get('qcompiler_sqnr_db', math.nan):5.1f} dB  "
        f"compile {row['compile_s']:5.1f} s  {row['summary']}"
    )


def main() -> None:
    """Prints one line per model and the geometric mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--scheme", default="auto")
    parser.add_argument("--recipe", default="balanced")
    parser.add_argument("--max-loss", type=float, help="compile with the metric as `evaluate`")
    parser.add_argument("--peers", action="store_true", help="also run ONNX Runtime's own tools")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    models = models_of(given)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            row = measure(model, given, Path(folder))
            row["loss"] = loss(row, model, "qcompiler")
            rows.append(row)
            print(_line(row), flush=True)
    for key in ("qcompiler_speed", "qcompiler_speed_1"):
        if all(key in row for row in rows):
            speed = np.exp(np.mean([math.log(row[key]) for row in rows]))
            print(f"geometric mean of {key} {speed:.2f}x over {len(rows)} models")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
