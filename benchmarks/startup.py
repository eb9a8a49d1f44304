"""Start-up: seconds until `import qcompiler`, a first name, and the command line are there.

    python -m benchmarks.startup [--runs 20]

Every run is a fresh interpreter with compiled bytecode; the figure is the quickest of all runs, as
other programs only ever add time, with the bare interpreter's own time beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

from benchmarks.isolation import with_bytecode

CASES = {
    "python -c pass": ["-c", "pass"],
    "import qcompiler": ["-c", "import qcompiler"],
    "qc.Program": ["-c", "import qcompiler as qc; qc.Program"],
    "qc.compile": ["-c", "import qcompiler as qc; qc.compile"],
    "qcompiler --help": ["-m", "qcompiler", "--help"],
    "qcompiler compile -h": ["-m", "qcompiler", "compile", "-h"],
    "qcompiler targets": ["-m", "qcompiler", "targets"],
}


def seconds(arguments: list[str], environment: Mapping[str, str]) -> float:
    """Of one run in a fresh interpreter.

    Raises:
        CalledProcessError: It failed.
    """
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    return time.perf_counter() - started


def main() -> None:
    """Prints a line for each case, taken by turns."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    found = {name: float("inf") for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**with_bytecode(folder), "NO_COLOR": "1"}
        for arguments in CASES.values():
            seconds(arguments, environment)  # bytecode and the cache of files
        for _ in range(runs):
            for name, arguments in CASES.items():
                found[name] = min(found[name], seconds(arguments, environment))
    for name, least in found.items():
        print(f"{name:22} {1000 * least:6.0f} ms")


if __name__ == "__main__":
    main()
