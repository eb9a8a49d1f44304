"""The network of digits compiled and compared with float: what `qcompiler demo` does."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from qcompiler.compile import compile as compile_model
from qcompiler.compiled import Compiled
from qcompiler.demo.digits import INPUT_NAME, ONNX_FILE, accuracy, load_digits
from qcompiler.execution.session import OrtSession
from qcompiler.execution.timing import Latency, compare_latency
from qcompiler.files.writing import make_folder, replace_file
from qcompiler.report.numbers import show_bytes, show_seconds

_TIMED = 16
"""Images in the batch that is timed."""


@dataclass(frozen=True)
class DemoResult:
    """Float and compiled network on held-out digits.

    Attributes:
        accuracy: Share of right answers, in float and compiled.
        nbytes: Of the two files.
        latency: Of the two with 16 images on one thread; ratios refer to float.
        images: Held-out images.
        summary: What the compiler says of it.
    """

    accuracy: tuple[float, float]
    nbytes: tuple[int, int]
    latency: tuple[Latency, Latency]
    images: int
    summary: str

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def text(self) -> str:
        """Four lines."""
        before, after = self.accuracy
        plain, own = self.latency
        small = f"{show_bytes(self.nbytes[0])} -> {show_bytes(self.nbytes[1])}"
        time = f"{show_seconds(plain.seconds)} -> {show_seconds(own.seconds)}, {own.speed}"
        return (
            f"accuracy on {self.images} held-out images: {before:.2%} -> {after:.2%}\n"
            f"size: {small}\n"
            f"time of {_TIMED} images, 1 thread: {time}\n"
            f"{self.summary}"
        )


def run_demo() -> tuple[Compiled, DemoResult]:
    """Compiles the network for ONNX Runtime and compares it with its float form."""
    digits = load_digits()
    target = "onnxruntime{threads=1}"
    compiled = compile_model(ONNX_FILE, target, digits.feeds(), recipe="fast")
    images, labels = digits.heldout()
    plain = OrtSession(ONNX_FILE, threads=1)
    answers = plain.run({INPUT_NAME: images})[0], compiled.run({INPUT_NAME: images})[0]
    scores = [accuracy(np.asarray(each), labels) for each in answers]
    feed = {INPUT_NAME: images[:_TIMED]}
    runs = {"float": partial(plain.run, feed), "compiled": partial(compiled.run, feed)}
    timed = compare_latency(runs)
    return compiled, DemoResult(
        (scores[0], scores[1]),
        (ONNX_FILE.stat().st_size, compiled.artifact.nbytes),
        (timed["float"], timed["compiled"]),
        len(images),
        compiled.report.summary,
    )


def write_files(folder: Path) -> list[Path]:
    """The network as `model.onnx` and its calibration images as `data.npz`, to go on with.

    Raises:
        ArtifactError: They cannot be written.
    """
    images = np.concatenate([feed[INPUT_NAME] for feed in load_digits().feeds()])
    make_folder(folder)
    model, data = folder / "model.onnx", folder / "data.npz"
    replace_file(model, lambda path: path.write_bytes(ONNX_FILE.read_bytes()))
    replace_file(data, lambda path: _save(path, images))
    return [model, data]


def _save(path: Path, images: Any) -> None:
    with path.open("wb") as opened:
        np.savez(opened, **{INPUT_NAME: images})
