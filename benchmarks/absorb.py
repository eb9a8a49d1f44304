"""Quantized files compiled anew for ONNX Runtime, against compiling their float source.

    python -m benchmarks.absorb [--zoo FOLDER NAMES...]

For each network (the digits network, and those of the zoo that are named) and each file (ours for
TensorRT and OpenVINO, ONNX Runtime's quantizer): speed as a ratio of the float source compiled with
the same scheme, timed in turn, and the share of outputs within one step of what the file means,
which is what ONNX Runtime computes of it without optimizations.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import QuantType

import qcompiler as qc
from benchmarks.models import Feed, add_models, from_zoo
from benchmarks.peers import static
from examples.digits.data import ONNX_FILE, load_digits
from qcompiler.execution.timing import compare_latency
from qcompiler.measurement.loss import noise_to_signal, sqnr_db

TARGETS = ("tensorrt", "openvino", "onnxruntime")


def networks(zoo: Path | None, names: Sequence[str]) -> Iterator[tuple[str, Path, list[Feed]]]:
    """Name, float file and feeds."""
    yield "digits", ONNX_FILE, list(load_digits().feeds())
    if zoo is not None:
        for model in from_zoo(zoo, names):
            yield model.name, model.path, model.feeds


def quantized_files(path: Path, feeds: list[Feed], folder: Path) -> Iterator[tuple[str, Path]]:
    """The float file quantized by us for other targets, and by ONNX Runtime."""
    for target in TARGETS:
        made = folder / f"{target}.onnx"
        qc.compile(path, target, feeds, scheme="int8", recipe="fast").save(made)
        yield f"ours for {target}", made
    yield "quantize_static", static(QuantType.QUInt8)(path, feeds, folder / "static.onnx")


def meant(path: Path, feeds: Sequence[Feed]) -> list[list[np.ndarray]]:
    """Outputs of a file without optimizations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [session.run(None, feed) for feed in feeds]


def within_a_step(
    compiled: qc.Compiled, wanted: list[list[np.ndarray]], feeds: Sequence[Feed]
) -> str:
    """Share of elements of outputs that are written in integers, and the noise of all."""
    placement = compiled.program.placement
    steps = {} if placement is None else {name: p for (name, _), p in placement.values.items()}
    near: list[np.ndarray] = []
    found = [list(compiled.run(feed)) for feed in feeds]
    for index, name in enumerate(compiled.program.signature.output_names):
        if name in steps:
            pairs = [np.abs(a[index] - b[index]) for a, b in zip(wanted, found, strict=True)]
            near += [(each <= float(steps[name].scale) * 1.001).reshape(-1) for each in pairs]
    share = f"{np.mean(np.concatenate(near)):.2%} within a step, " if near else ""
    return f"{share}{sqnr_db(noise_to_signal(wanted, found)):.1f} dB"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_models(parser, packages=False)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    for name, path, given_feeds in networks(given.zoo, given.names):
        feeds = given_feeds[:16]
        direct = qc.compile(path, "onnxruntime", feeds, scheme="int8", recipe="fast")
        with tempfile.TemporaryDirectory() as folder:
            for kind, file in quantized_files(path, feeds, Path(folder)):
                again = qc.compile(file, "onnxruntime", feeds, scheme="int8", recipe="fast")
                runs = {
                    "float source": partial(direct.artifact.run, feeds[0]),
                    "again": partial(again.artifact.run, feeds[0]),
                }
                timed = compare_latency(runs, given.seconds, baseline="float source")
                quality = within_a_step(again, meant(file, feeds[:4]), feeds[:4])
                print(f"{name:16} {kind:20} {timed['again'].speed}; {quality}", flush=True)


if __name__ == "__main__":
    main()
