"""What `make demo` runs: compile the embedded digits network and compare it with float.

Every source form is compiled for every engine of `ENGINES`; models and reports go to demo-output/.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from rich.console import Console
from rich.table import Table

import qcompiler as qc
from examples.digits.data import (
    INPUT_NAME,
    ONNX_FILE,
    Batch,
    Digits,
    accuracy,
    load_digits,
    load_module,
)
from qcompiler.compiled import Compiled
from qcompiler.execution.timing import Latency, compare_latency

OUTPUT = Path("demo-output")
TIMED_BATCHES = (1, 16)

Array = npt.NDArray[Any]
Runner = Callable[[Batch], Array]


@dataclass(frozen=True)
class Engine:
    """An engine of the demo.

    Attributes:
        target: Name of the registered target.
        suffix: Of the saved artifact.
        baseline: Opens the float network on the same engine.
        deployed: Opens the saved artifact the way a user would, without qcompiler where possible.
    """

    target: str
    suffix: str
    baseline: Callable[[], Runner]
    deployed: Callable[[Compiled, Path], Runner]


@dataclass(frozen=True)
class Result:
    """One row of the table."""

    source: str
    engine: Engine
    compiled: Compiled
    path: Path
    accuracies: tuple[float, float]
    latencies: dict[int, dict[str, Latency]]


def first_array(outputs: Any) -> Array:
    """The only output of the network, whatever form the source returns it in."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    value = outputs[0] if isinstance(outputs, list | tuple) else outputs
    return np.asarray(value)


def onnx_runner(path: Path) -> Runner:
    """A model file on stock ONNX Runtime, one thread (two pools would fight in a comparison)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda batch: first_array(session.run(None, {INPUT_NAME: batch}))


def torch_runner() -> Runner:
    """The float module in eager torch, one thread."""
    import torch

    torch.set_num_threads(1)
    module = load_module()

    def run(batch: Batch) -> Array:
        with torch.inference_mode():
            return first_array(module(torch.from_numpy(batch)))

    return run


def loaded_runner(path: Path) -> Runner:
    """A saved artifact of a torch engine."""
    loaded = qc.load_compiled(path)
    return lambda batch: first_array(loaded.run({INPUT_NAME: batch}))


ENGINES = (
    Engine(
        "onnxruntime",
        ".onnx",
        baseline=lambda: onnx_runner(ONNX_FILE),
        deployed=lambda _, path: onnx_runner(path),
    ),
    Engine(
        "fbgemm",
        ".pt",
        baseline=torch_runner,
        deployed=lambda _, path: loaded_runner(path),
    ),
)
SOURCES: dict[str, Callable[[], Any]] = {
    "torch module": load_module,
    "ONNX file": lambda: ONNX_FILE,
}


def run_one(source: str, engine: Engine, digits: Digits) -> Result:
    """Compile one source for one engine, save it, and measure both sides."""
    compiled = qc.compile(SOURCES[source](), target=engine.target, calibration=digits.feeds())
    stem = f"digits-{source.split()[0].lower()}-{engine.target}"
    path = OUTPUT / f"{stem}{engine.suffix}"
    compiled.save(path)
    (OUTPUT / f"{stem}.html").write_text(compiled.report.html(), encoding="utf-8")
    inputs, labels = digits.heldout()
    before, after = engine.baseline(), engine.deployed(compiled, path)
    answers = first_array(compiled({INPUT_NAME: inputs}))
    accuracies = accuracy(before(inputs), labels), accuracy(answers, labels)
    return Result(source, engine, compiled, path, accuracies, timed(before, after, inputs))


def timed(before: Runner, after: Runner, inputs: Batch) -> dict[int, dict[str, Latency]]:
    """Latency of both sides for each batch size."""

    def at(batch: Batch) -> dict[str, Latency]:
        return compare_latency({"float": partial(before, batch), "compiled": partial(after, batch)})

    return {size: at(inputs[:size]) for size in TIMED_BATCHES}


def summary(results: list[Result]) -> Table:
    """Float against compiled, one row per source and engine."""
    table = Table(title="float → compiled (held-out digits; latency interleaved, 1 thread)")
    table.add_column("source")
    table.add_column("engine")
    table.add_column("accuracy")
    table.add_column("size, kB")
    for batch in TIMED_BATCHES:
        table.add_column(f"ms, batch {batch}")
        table.add_column("speed-up", style="bold green")
    for result in results:
        before, after = result.accuracies
        size = result.path.stat().st_size / 1000
        cells = [
            f"{before:.2%} → {after:.2%}",
            f"{ONNX_FILE.stat().st_size / 1000:.0f} → {size:.0f}",
        ]
        for timed in result.latencies.values():
            plain, own = timed["float"], timed["compiled"]
            cells += [f"{plain.seconds * 1e3:.3f} → {own.seconds * 1e3:.3f}", own.speed]
        table.add_row(result.source, result.engine.target, *cells)
    return table


def layers(result: Result) -> Table:
    """What every layer runs as, and why."""
    table = Table(title=f"layers of the {result.source} on {result.engine.target}")
    for heading in ("layer", "precision", "why"):
        table.add_column(heading, overflow="fold")
    for key, choice in result.compiled.plan.choices.items():
        table.add_row(key, choice.precision, choice.reason)
    return table


def main() -> int:
    """Run the demo; the exit code is 1 if a compiled network lost more than a point."""
    OUTPUT.mkdir(exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 120)
    digits = load_digits()
    results = []
    for engine in ENGINES:
        for source in SOURCES:
            console.print(f"compiling the {source} for {engine.target}")
            results.append(run_one(source, engine, digits))
    console.print(layers(results[0]))
    console.print(results[0].compiled.report.text())
    console.print(summary(results))
    console.print(f"models and reports are in {OUTPUT}/")
    return int(any(before - after > 0.01 for before, after in (r.accuracies for r in results)))


if __name__ == "__main__":
    sys.exit(main())
