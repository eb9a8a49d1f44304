"""Compilations beside a process that burns a core: what they return, and what they print.

    python -m benchmarks.neighbour --zoo FOLDER --folder OUT [--repeats 10] [NAMES...]

Three stages, one after the other without `--stage`. `quiet` compiles every model on the idle
machine. `noisy` compiles it again, `--repeats` times, while another process spins; nothing is
remembered from one compilation to the next. `judge` times all files that came out, and the model's
own, in turns on the idle machine: what a plan really saves. Told are the time of the slowest plan
against that of the quiet one, and how far printed ratios are from true ones; a printed interval is
off by its distance from the truth.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import qcompiler as qc
from benchmarks.models import Model, add_models, models_of
from benchmarks.zoo import session
from qcompiler.execution.timing import WIDE, compare_latency
from qcompiler.search.cache import VARIABLE

_STAGES = ("quiet", "noisy", "judge")
_AS_FAST = 1.05
"""Time of a plan relative to the quiet one's that counts as the same choice."""
_OFF = 1.15
"""Factor between a printed ratio and the true one from which the print is wrong."""


@dataclass(frozen=True)
class Printed:
    """What a compilation said of its time.

    Attributes:
        low: The least speed it leaves open.
        high: The largest; both are the ratio where that was printed.
        seconds: What it took.
    """

    low: float
    high: float
    seconds: float

    def off(self, truth: float) -> float:
        """Factor between the truth and the nearest speed that it left open; 1 is right."""
        return max(self.low / truth, truth / self.high, 1.0)


@contextmanager
def neighbour() -> Iterator[None]:
    """A process that spins on one core, no longer than this one lives."""
    spin = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    with subprocess.Popen([sys.executable, "-c", spin]) as process:
        try:
            yield
        finally:
            process.kill()


def compiled(model: Model, path: Path, recipe: str) -> Printed:
    """Compiles a model into a file; nothing is kept in the cache of times."""
    started = time.perf_counter()
    found = qc.compile(model.path, "onnxruntime", model.feeds, recipe=recipe)
    seconds = time.perf_counter() - started
    found.save(path)
    latency = next((each for each in found.report.figures if each.name == "latency"), None)
    if latency is None or latency.gain is None or latency.interval is None:
        return Printed(1.0, 1.0, seconds)  # float is returned as it came
    low, high = latency.interval
    wide = high > WIDE * low
    return Printed(low, high, seconds) if wide else Printed(latency.gain, latency.gain, seconds)


def judged(model: Model, folder: Path, seconds: float) -> dict[str, float]:
    """True speed by file name: times of low quantiles in one interleaved run, equal files once."""
    unique: dict[bytes, list[str]] = {}
    for path in sorted(folder.glob("*.onnx")):
        unique.setdefault(path.read_bytes(), []).append(path.name)
    runs = {"float": session(model.path)}
    runs |= {names[0]: session(folder / names[0]) for names in unique.values()}
    feeds = model.feeds[:: max(1, len(model.feeds) // 4)][:4]
    parts = {name: [partial(each.run, None, feed) for feed in feeds] for name, each in runs.items()}
    timed = compare_latency(parts, budget_seconds=seconds, min_rounds=11, decisive=0.005)
    return {name: 1 / timed[names[0]].ratio for names in unique.values() for name in names}


def told(truth: Mapping[str, float], prints: Mapping[str, Printed]) -> tuple[float, float, int]:
    """Slowest plan's time against the quiet one's, worst print's factor, plans as fast."""
    quiet = truth["quiet.onnx"]
    slower = {name: quiet / speed for name, speed in truth.items() if name != "quiet.onnx"}
    off = max(each.off(truth[name]) for name, each in prints.items() if name in truth)
    return max(slower.values()), off, sum(each <= _AS_FAST for each in slower.values())


def _prints(folder: Path) -> dict[str, Printed]:
    path = folder / "printed.json"
    entries = json.loads(path.read_text()) if path.exists() else {}
    return {name: Printed(**each) for name, each in entries.items()}


def _store(folder: Path, prints: Mapping[str, Printed]) -> None:
    entries = {name: asdict(each) for name, each in prints.items()}
    (folder / "printed.json").write_text(json.dumps(entries, indent=2) + "\n")


def main() -> None:
    """One line per model, and how many of them keep both bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument("--folder", type=Path, required=True, help="where files are kept")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--recipe", default="balanced")
    parser.add_argument("--seconds", type=float, default=15.0, help="of the last timing, by model")
    parser.add_argument("--stage", choices=_STAGES)
    given = parser.parse_args()
    os.environ[VARIABLE] = ""
    good = right = 0
    models = models_of(given)
    for model in models:
        folder = given.folder / model.name
        folder.mkdir(parents=True, exist_ok=True)
        prints = _prints(folder)
        if given.stage in (None, "quiet"):
            prints["quiet.onnx"] = compiled(model, folder / "quiet.onnx", given.recipe)
        if given.stage in (None, "noisy"):
            with neighbour():
                for number in range(given.repeats):
                    name = f"noisy-{number}.onnx"
                    prints[name] = compiled(model, folder / name, given.recipe)
                    _store(folder, prints)
        _store(folder, prints)
        if given.stage in (None, "judge"):
            truth = judged(model, folder, given.seconds)
            slowest, off, same = told(truth, prints)
            good, right = good + (slowest <= _AS_FAST), right + (off <= _OFF)
            print(
                f"{model.name:20s} quiet {truth['quiet.onnx']:.2f}x, slowest plan {slowest:.2f} of "
                f"its time ({same} of {len(truth) - 1} within {_AS_FAST}), "
                f"worst print off by {off:.2f}",
                flush=True,
            )
    if given.stage in (None, "judge"):
        print(f"as fast as the quiet choice: {good} of {len(models)}; prints right: {right}")


if __name__ == "__main__":
    main()
