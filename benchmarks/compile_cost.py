"""Wall time and peak memory of compiling, against `quantize_static` on the same feeds.

    python -m benchmarks.compile_cost --zoo FOLDER [--recipe fast] [NAMES...]

Every measurement is a process of its own; ours gets four times the samples for the memory figure.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.models import Feed, from_zoo
from benchmarks.peers import PEERS


def one(zoo: Path, name: str, tool: str, recipe: str, repeat: int) -> dict[str, float]:
    """Runs in the child: seconds of the tool alone, and how far the peak grew beyond the data."""
    import qcompiler as qc

    model = from_zoo(zoo, [name])[0]

    def feeds() -> Iterator[Feed]:
        for _ in range(repeat):
            yield from model.feeds

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.onnx"

        def ours() -> None:
            qc.compile(model.path, calibration=feeds(), recipe=recipe).save(target)

        def theirs() -> None:
            PEERS["ort_u8"](model.path, list(feeds()), target)

        runs: dict[str, Callable[[], None]] = {"qcompiler": ours, "quantize_static": theirs}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        runs[tool]()
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_mb": peak / 1024, "grown_mb": (peak - before) / 1024}


def child(zoo: Path, name: str, tool: str, recipe: str, repeat: int) -> dict[str, float]:
    """Runs `one` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.compile_cost", "--zoo", str(zoo), "--recipe",
               recipe, "--child", tool, "--repeat", str(repeat), name]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> None:
    """Prints a row per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--child")
    parser.add_argument("--repeat", type=int, default=1)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(one(given.zoo, given.names[0], given.child, given.recipe, given.repeat)))
        return
    names = given.names or [model.name for model in from_zoo(given.zoo, [])]
    for name in names:
        ours = child(given.zoo, name, "qcompiler", given.recipe, 1)
        more = child(given.zoo, name, "qcompiler", given.recipe, 4)
        theirs = child(given.zoo, name, "quantize_static", given.recipe, 1)
        if not theirs:
            print(f"{name:20s} quantize_static fails; ours {ours.get('seconds', 0):.1f} s")
            continue
        print(
            f"{name:20s} wall {ours['seconds']:6.1f} s / {theirs['seconds']:6.1f} s = "
            f"{ours['seconds'] / theirs['seconds']:.2f}   peak with 4x samples "
            f"{more['peak_mb']:6.0f} MB / {theirs['peak_mb']:6.0f} MB = "
            f"{more['peak_mb'] / theirs['peak_mb']:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
