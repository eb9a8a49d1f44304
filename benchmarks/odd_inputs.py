"""Bad and odd inputs, and how each has to end: `python -m benchmarks.odd_inputs [WORD...]`.

An input is a model, a damaged weight, calibration data, a text (pipeline, plan, configuration,
option), a cache or an artifact. Each says what has to come of it: the right result, or an error of
which class, and what that error names. Each runs in a child with 2 GB above the imports and 60 s.
Exit code 1 if one ends otherwise; `--list` prints the table.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.fuzz.corpus import preload
from benchmarks.odd import artifacts, bombs, data, files, structures, texts, values, weights
from benchmarks.odd.entry import Entry
from benchmarks.waiting import waited

_MEMORY = 2 << 30
_LONGEST = 60


def corpus() -> list[Entry]:
    """Every input, in a fixed order."""
    parts = (structures, files, weights, values, bombs, data, texts, artifacts)
    return [entry for part in parts for entry in part.entries()]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("words", nargs="*", help="run those whose name holds one of them")
    parser.add_argument("--list", action="store_true", help="print the table and run nothing")
    given = parser.parse_args()
    chosen = [e for e in corpus() if not given.words or any(w in e.name for w in given.words)]
    if given.list:
        for entry in chosen:
            print(f"{entry.name:60} {_expected(entry)}")
        return 0
    wrong, slowest = 0, 0.0
    os.environ["QCOMPILER_CACHE"] = ""
    preload()
    for entry in chosen:
        told, seconds = _in_child(entry)
        slowest = max(slowest, seconds)
        if told:
            wrong += 1
            print(f"{entry.name}: {told}", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} as expected; slowest {slowest:.1f} s")
    return int(wrong > 0)


def _expected(entry: Entry) -> str:
    if entry.refused is None:
        return "right"
    return f"{entry.refused.__name__}: {', '.join(entry.words)}"


def _in_child(entry: Entry) -> tuple[str, float]:
    """What is wrong with how it ends, empty if nothing is, and its seconds."""
    heard, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(heard)
        _run(entry, say)
    os.close(say)
    ended, seconds = waited(heard, _LONGEST, pid)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(heard, encoding="utf-8", errors="replace") as lines:
        told = lines.read()
    status = os.waitpid(pid, 0)[1]
    if not ended:
        return f"more than {_LONGEST} s", seconds
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}", seconds
    if status:
        return f"exit code {os.waitstatus_to_exitcode(status)} {told}", seconds
    return told, seconds


def _run(entry: Entry, say: int) -> None:
    """In the child; never returns, or the child would go on with the other entries."""
    code = 1
    try:
        os.write(say, _ended(entry).encode("utf-8", "backslashreplace")[:2000])
        code = 0
    finally:
        os._exit(code)


def _ended(entry: Entry) -> str:
    """What is wrong, found under the limits."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory() as name:
        return entry.failure(Path(name)) or ""


if __name__ == "__main__":
    sys.exit(main())
