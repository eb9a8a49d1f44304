"""Accuracy after training with quantization in place, beside post-training quantization.

    python -m benchmarks.qat [NAMES] [--zoo FOLDER] [--schemes int8 int4] [--epochs 10]

A row a network and scheme: accuracy of float, of `qc.compile` without training (`ptq`), of the
trained module in evaluation, of what it compiles to, and the CPU time of a training step against
the float module's (least of ten steps each). `digits` is the torch module of examples/digits,
`digits.onnx` its ONNX file, `resnet18_mnist` the ONNX file of the zoo with its own training set.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import qcompiler as qc
from benchmarks.models import add_models
from examples.digits.data import ONNX_FILE, accuracy, load_module, preprocess
from examples.train_digits import shifted, split_digits
from qcompiler.lowering.torch_fx.trainable import lower_trainable

BATCH = 48


@dataclass(frozen=True, eq=False)
class Task:
    """A network, what it is trained on, and how its outputs are scored.

    Attributes:
        source: What `prepare_qat` takes.
        images: float32 [N, ...].
        labels: int64 [N].
        augment: Applied to every batch.
        score: Accuracy of a function from images to logits.
        rate: Largest learning rate.
    """

    source: Any
    images: Tensor
    labels: Tensor
    augment: Callable[[Tensor], Tensor]
    score: Callable[[Callable[[Any], Any]], float]
    rate: float = 1e-3

    def feeds(self) -> list[Any]:
        """Calibration data: the first 128 images."""
        return list(torch.split(self.images[:128], 16))


def train(module: Any, task: Task, epochs: int) -> None:
    """A plain loop: Adam, one cycle, BatchNormalization frozen in the last third."""
    optimizer = torch.optim.Adam(module.parameters())
    steps = epochs * -(-len(task.images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=task.rate, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    module.train()
    for epoch in range(epochs):
        if epoch == epochs - max(1, epochs // 3):
            module.freeze_batch_norm()
        for rows in torch.split(torch.randperm(len(task.images)), BATCH):
            optimizer.zero_grad()
            found = module(task.augment(task.images[rows]))
            loss: Tensor = loss_of(found, task.labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    module.eval()


def step_seconds(module: Any, task: Task) -> float:
    """CPU seconds of one step of Adam, the least of ten."""
    module = copy.deepcopy(module).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-5)
    images, labels = task.images[:BATCH], task.labels[:BATCH]
    seconds = []
    for _ in range(12):
        start = time.process_time()
        optimizer.zero_grad()
        found = module(images)
        found = found[0] if isinstance(found, tuple) else found
        nn.functional.cross_entropy(found, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seconds.append(time.process_time() - start)
    return min(seconds[2:])


def row(name: str, task: Task, scheme: str, epochs: int) -> dict[str, Any]:
    """Accuracies and the time of a step."""
    torch.manual_seed(0)
    feeds = task.feeds()
    plain = qc.compile(task.source, calibration=feeds, scheme="float32", recipe="fast")
    ptq = qc.compile(task.source, calibration=feeds, scheme=scheme, recipe="balanced")
    module = qc.prepare_qat(task.source, calibration=feeds, scheme=scheme)
    floating = task.source
    if not isinstance(floating, nn.Module):
        floating = lower_trainable(qc.load(task.source))
    ratio = step_seconds(module, task) / step_seconds(floating, task)
    started = time.perf_counter()
    train(module, task, epochs)
    with torch.no_grad():
        trained = task.score(lambda x: module(torch.as_tensor(x)).numpy())
    compiled = qc.compile(module, calibration=feeds, recipe="fast")
    return {
        "network": name,
        "scheme": scheme,
        "float": task.score(_runs(plain)),
        "ptq": task.score(_runs(ptq)),
        "trained": trained,
        "compiled": task.score(_runs(compiled)),
        "step": ratio,
        "seconds": time.perf_counter() - started,
    }


def _runs(compiled: Any) -> Callable[[Any], Any]:
    return lambda x: np.asarray(compiled.run(np.asarray(x))[0])


def digits(source: Any) -> Task:
    """The embedded digits, all training images."""
    held, images, labels = split_digits()
    inputs, expected = held.heldout()
    return Task(
        source,
        torch.from_numpy(preprocess(images)),
        torch.from_numpy(labels.astype(np.int64)),
        shifted,
        lambda run: accuracy(run(inputs), expected),
    )


def resnet18(folder: Path) -> Task:
    """resnet18_mnist of the zoo."""
    sys.path.insert(0, str(folder))
    model: Any = importlib.import_module("zoo").MODELS["resnet18_mnist"]
    images, labels = model.training()
    name = qc.load(model.onnx_path).signature.input_names[0]

    def score(run: Callable[[Any], Any]) -> float:
        found = model.evaluate(lambda feed: [np.asarray(run(feed[name]))])
        return float(found["acc"])

    return Task(
        model.onnx_path,
        torch.from_numpy(np.asarray(images, np.float32)),
        torch.from_numpy(np.asarray(labels, np.int64)),
        lambda batch: batch,
        score,
        rate=5e-4,
    )


def tasks(given: argparse.Namespace) -> Iterator[tuple[str, Task]]:
    """Networks by name."""
    yield "digits", digits(load_module())
    yield "digits.onnx", digits(ONNX_FILE)
    if given.zoo is not None:
        yield "resnet18_mnist", resnet18(given.zoo)


def main() -> None:
    """Prints a table, and JSON lines with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser, packages=False)
    parser.add_argument("--schemes", nargs="+", default=["int8", "int4", "int3", "int2", "ternary"])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name, task in tasks(given):
        for scheme in given.schemes if not given.names or name in given.names else ():
            found = row(name, task, scheme, given.epochs)
            shown = json.dumps(found) if given.json else _line(found)
            print(shown, flush=True)


def _line(found: dict[str, Any]) -> str:
    parts = [f"{found['network']:15s} {found['scheme']:8s}"]
    parts += [f"{key} {found[key]:.4f}" for key in ("float", "ptq", "trained", "compiled")]
    return "  ".join([*parts, f"step {found['step']:.2f}x", f"{found['seconds']:.0f} s"])


if __name__ == "__main__":
    main()
