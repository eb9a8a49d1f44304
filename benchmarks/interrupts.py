"""Ctrl-C at random moments of `qcompiler compile`: how soon it ends, and how.

    python -m benchmarks.interrupts [MODEL DATA.npz] [--runs 20] [--seed 1] [--batch 1]

One whole run says how long a compilation takes; then each run gets its SIGINT at a moment drawn
from that time. Printed are exit codes, the seconds from the signal to the end of the process by
what became of it, and every run that took more than two seconds. Code -2 is a process that SIGINT
ended while the interpreter was still starting, before any line of the package.

Exit code 1 if a run ended in another code, left a half file or took more than two seconds.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from qcompiler.demo.run import write_files

_BOUND = 2.0
_STARTING = 1.0
"""Seconds in which the interpreter may still be starting."""


def main() -> int:
    given = _arguments()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, data = given.files or write_files(folder)
        output = folder / "out.onnx"
        command = [sys.executable, "-m", "qcompiler", "compile", str(model), "-c", str(data)]
        command += ["--batch", str(given.batch), "-o", str(output)]
        started = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        whole = time.monotonic() - started
        print(f"a whole run takes {whole:.1f} s")
        found: dict[str, list[float]] = defaultdict(list)
        faults = 0
        for _ in range(given.runs):
            output.unlink(missing_ok=True)
            moment = chance.uniform(0.0, whole)
            ended, seconds, last = _interrupted(command, moment, output)
            found[ended].append(seconds)
            bad = seconds > _BOUND or (ended.startswith("code") and moment > _STARTING)
            if bad:
                faults += 1
                print(f"at {moment:.2f} s: {ended} after {seconds:.2f} s: {last}")
    for ended, times in sorted(found.items()):
        middle, most = np.median(times), max(times)
        print(f"{len(times):4} {ended}: median {middle:.2f} s, most {most:.2f} s")
    return int(faults > 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="a model and its data")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    return parser.parse_args()


def _interrupted(command: list[str], moment: float, output: Path) -> tuple[str, float, str]:
    """How a run ended, seconds after the signal, and its last line."""
    running = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    time.sleep(moment)
    running.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, told = running.communicate()
    seconds = time.monotonic() - sent
    lines = told.strip().splitlines()
    last = lines[-1] if lines else ""
    left = [each.name for each in output.parent.glob(".qc-*")]
    if left:
        return f"code {running.returncode} with {left} left over", seconds, last
    if running.returncode == 130:
        return "the best so far is saved" if output.exists() else "nothing is saved", seconds, last
    if running.returncode == 0:
        return "it was done", seconds, last
    return f"code {running.returncode}", seconds, last


if __name__ == "__main__":
    sys.exit(main())
