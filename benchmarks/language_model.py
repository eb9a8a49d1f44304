"""Perplexity, size and tokens a second of a small decoder: float, ours, and ONNX Runtime's tool.

    python -m benchmarks.language_model [--train SECONDS] [--tokens COUNT] [--no-times]

The model is trained here for a minute (`benchmarks.decoder`). ONNX Runtime's
`matmul_nbits_quantizer` gets the float file that we write, with the same bits, block and level.
Perplexity is that of held-out text, read in pieces that go on from a cache. Times are of one
thread, the models taking turns word by word.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

import qcompiler as qc
from benchmarks.decoder import Decoder, Ids, trained

Array = npt.NDArray[Any]
Feed = tuple[torch.Tensor, torch.Tensor]
BLOCK = 32
PIECE = 64
OURS: Mapping[str, dict[str, Any]] = {
    "float": {"scheme": "float32"},
    "int8": {"scheme": "int8-weights-b32"},
    "int4": {"scheme": "int4-weights"},
    "int4 affine": {"scheme": "int4-weights-affine"},
    "int4 gptq": {"scheme": "int4-weights", "variants": ["search-weight-scales", "gptq"]},
    "int4 affine gptq": {
        "scheme": "int4-weights-affine",
        "variants": ["search-weight-scales", "gptq"],
    },
}
THEIRS: Mapping[str, dict[str, Any]] = {
    "ort int8": {"bits": 8, "is_symmetric": True},
    "ort int4": {"bits": 4, "is_symmetric": True},
    "ort int4 affine": {"bits": 4, "is_symmetric": False},
}


@dataclass(frozen=True)
class File:
    """A model that runs on ONNX Runtime."""

    path: Path
    session: ort.InferenceSession

    @classmethod
    def opened(cls, path: Path) -> File:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        return cls(path, ort.InferenceSession(str(path), options, providers=providers))

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def step(self, ids: Array, past: Array) -> tuple[Array, Array]:
        names = [each.name for each in self.session.get_inputs()]
        logits, kept = self.session.run(None, dict(zip(names, (ids, past), strict=True)))
        return logits, kept


def feeds(model: Decoder, held: Ids, count: int = 16) -> list[Feed]:
    """Pieces of text with the cache that the model has made of what stands before them."""
    found: list[Feed] = []
    for index in range(count):
        rows = torch.from_numpy(held[index * 160 : index * 160 + 144].reshape(1, -1))
        before, length = 16 + 4 * index, 48 - 2 * index
        with torch.no_grad():
            _, past = model(rows[:, :before], model.empty(1))
        found.append((rows[:, before : before + length], past))
    return found


def perplexity(file: File, model: Decoder, held: Ids, pieces: int) -> float:
    """exp of the mean surprise at each next word; every second piece goes on from a cache."""
    surprise: list[Array] = []
    for index in range(pieces):
        rows = held[index * 2 * PIECE : (index + 1) * 2 * PIECE + 1].reshape(1, -1)
        past = model.empty(1).numpy()
        for half in range(2):
            ids = rows[:, half * PIECE : (half + 1) * PIECE]
            logits, past = file.step(ids, past)
            wanted = rows[0, half * PIECE + 1 : (half + 1) * PIECE + 1]
            exact = logits[0].astype(np.float64)
            log_sum = np.log(np.exp(exact - exact.max(-1, keepdims=True)).sum(-1)) + exact.max(-1)
            surprise.append(log_sum - exact[np.arange(PIECE), wanted])
    return float(np.exp(np.concatenate(surprise).mean()))


def seconds_per_token(files: Mapping[str, File], model: Decoder, tokens: int) -> dict[str, float]:
    """Lower quartile of the time of one word, with the same cache for all, in turns."""
    times: dict[str, list[float]] = {name: [] for name in files}
    past = _cache(model)
    ids = np.zeros((1, 1), np.int64)
    for turn in range(tokens):
        names = list(files)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = time.perf_counter()
            files[name].step(ids, past)
            times[name].append(time.perf_counter() - started)
    return {name: float(np.quantile(each, 0.25)) for name, each in times.items()}


def _cache(model: Decoder) -> Array:
    shape = list(model.empty(1).shape)
    shape[4] = PIECE
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def written(model: Decoder, held: Ids, folder: Path) -> dict[str, File]:
    """All files, by name."""
    given = feeds(model, held)
    found: dict[str, File] = {}
    for name, options in OURS.items():
        compiled = qc.compile(model, "onnxruntime", given, recipe="fast", **options)
        found[name] = File.opened(compiled.save(folder / f"{name}.onnx"))
    for name, options in THEIRS.items():
        path = folder / f"{name}.onnx"
        quantizer = MatMulNBitsQuantizer(
            onnx.load(found["float"].path), block_size=BLOCK, accuracy_level=4, **options
        )
        quantizer.process()
        quantizer.model.save_model_to_file(str(path), use_external_data_format=False)
        found[name] = File.opened(path)
    return found


def main() -> None:
    """Prints a row per file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=float, default=60.0)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--no-times", action="store_true")
    given = parser.parse_args()
    model, held = trained(given.train)
    with tempfile.TemporaryDirectory() as folder:
        files = written(model, held, Path(folder))
        times = {} if given.no_times else seconds_per_token(files, model, given.tokens)
        pieces = (len(held) - 1) // (2 * PIECE)
        whole = files["float"].size
        print(
            "| model | perplexity | size | of float | tokens/s |\n| --- | --- | --- | --- | --- |"
        )
        for name, file in files.items():
            speed = f"{1 / times[name]:.0f}" if times else "–"
            lost = perplexity(file, model, held, pieces)
            size = f"{file.size / 1e6:.2f} MB | {file.size / whole:.3f}"
            print(f"| {name} | {lost:.3f} | {size} | {speed} |", flush=True)


if __name__ == "__main__":
    main()
