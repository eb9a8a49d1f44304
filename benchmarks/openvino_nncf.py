"""Compiled for OpenVINO against NNCF's post-training quantization, in one interleaved run.

    python -m benchmarks.openvino_nncf --nncf-python VENV/bin/python [--zoo FOLDER] [NAMES...]

NNCF lives in an environment of its own (`pip install nncf==3.4.0 openvino==2026.4.1`). Both get the
same float file and the same calibration samples, both results run in one process on the same
OpenVINO with one thread; the ratios are medians over rounds. `resnet50` has random weights, so its
loss is noise against its float outputs only.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import openvino

import qcompiler as qc
from benchmarks.models import Model, add_models, models_of
from benchmarks.nncf_peer import nncf_file
from qcompiler.backends.openvino.target import OpenVino
from qcompiler.execution.timing import compare_latency

Feed = dict[str, np.ndarray]
_SETTINGS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_NUM_THREADS": 1,
}


def runner(path: Path) -> Callable[[Feed], list[np.ndarray]]:
    """Runs a file on OpenVINO with one thread."""
    compiled = openvino.Core().compile_model(str(path), "CPU", _SETTINGS)
    request = compiled.create_infer_request()

    def run(feed: Feed) -> list[np.ndarray]:
        request.infer(feed)
        return [np.array(request.get_output_tensor(i).data) for i in range(len(compiled.outputs))]

    return run


def resnet50(folder: Path) -> Model:
    """The hand-written ResNet-50 at 224, random weights, normal inputs."""
    import torch

    from benchmarks.networks import resnet50 as network

    path = folder / "resnet50.onnx"
    program = qc.load(network(), (torch.randn(1, 3, 224, 224),))
    ir.save(program.model.clone(), path)
    rng = np.random.default_rng(0)
    name = program.signature.inputs[0].name
    feeds = [{name: rng.normal(0, 1, (1, 3, 224, 224)).astype(np.float32)} for _ in range(16)]
    return Model("resnet50", path, feeds, lambda run: {}, "", True)


def own_files(
    model: Model, schemes: list[str], folder: Path, max_loss: float | None = None
) -> dict[str, Path]:
    """Our results by scheme."""
    files = {}
    for scheme in schemes:
        target = OpenVino(threads=1)
        compiled = qc.compile(model.path, target, model.feeds, scheme=scheme, max_loss=max_loss)
        print(f"  {scheme}: {compiled.report.summary}", flush=True)
        files[scheme] = compiled.save(folder / f"{model.name}-{scheme}.onnx")
    return files


def sqnr_db(run: Any, reference: Any, feeds: list[Feed]) -> float:
    """Signal to noise of the float outputs, in dB, over all outputs and feeds."""
    signal = noise = 0.0
    for feed in feeds:
        for ours, theirs in zip(run(feed), reference(feed), strict=True):
            signal += float((theirs.astype(np.float64) ** 2).sum())
            noise += float(((ours.astype(np.float64) - theirs) ** 2).sum())
    return 10 * math.log10(signal / noise) if noise and signal else math.inf


def measure(model: Model, files: Mapping[str, Path], seconds: float) -> None:
    """Prints speed, signal to noise, and the model's own metric for each file."""
    runs = {name: runner(path) for name, path in files.items()}
    feeds = model.feeds[:: max(1, len(model.feeds) // 8)][:8]

    def over_all(run: Callable[[Feed], Any]) -> None:
        for feed in feeds:
            run(feed)

    timed = compare_latency(
        {name: partial(over_all, run) for name, run in runs.items()}, seconds, 21, decisive=0.001
    )
    for name, run in runs.items():
        scores = model.evaluate(run)
        metric = f"  {model.metric} {scores[model.metric]:.4f}" if model.metric else ""
        quality = "" if name == "float" else f"  {sqnr_db(run, runs['float'], feeds):5.1f} dB"
        print(f"  {name:8} {1 / timed[name].ratio:5.2f}x{quality}{metric}", flush=True)


def main() -> None:
    """Prints one block per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument("--nncf-python", type=Path, required=True)
    parser.add_argument("--schemes", default="int8,auto")
    parser.add_argument("--max-loss", type=float, help="noise to signal that `auto` may reach")
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    names = [name for name in given.names if name != "resnet50"]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        models = [resnet50(folder)] if "resnet50" in given.names else []
        if names or not models:
            models += models_of(given, names)
        for model in models:
            print(model.name, flush=True)
            files = {
                "float": model.path,
                "nncf": nncf_file(model, given.nncf_python, folder / f"{model.name}.xml"),
            }
            files |= own_files(model, given.schemes.split(","), folder, given.max_loss)
            measure(model, files, given.seconds)


if __name__ == "__main__":
    main()
