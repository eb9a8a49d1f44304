"""What may happen to a compilation: `python -m benchmarks.accidents [--kills 10] [--seed 1]`.

Killed with SIGKILL at random moments while it calibrates with a checkpoint, and begun again; a disk
that is full (no file may grow beyond a few kB); a folder that is closed; two processes on one cost
cache; outputs that are inputs. Looked for: an artifact that differs from that of an undisturbed
run, half a file, a file that was there and is not any more, a traceback. Exit code 1 if there is
one. A closed folder is none for the superuser: that is told and not checked.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from qcompiler.demo.run import write_files
from qcompiler.search.cache import CostCache

_SMALL = 4096
"""Bytes that a file may have on a full disk; no artifact of the demo is that small."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, data = write_files(folder)
        run = Compilation(folder, model, data)
        for each in (partial(killed, chance=chance, count=given.kills), full, closed, shared, same):
            found = each(run)
            title = getattr(each, "__name__", "killed")
            print(f"{title}: {', '.join(found) or 'as it should be'}", flush=True)
            faults += found
    return int(bool(faults))


class Compilation:
    """One command line, and what it leaves when nothing happens to it."""

    def __init__(self, folder: Path, model: Path, data: Path) -> None:
        self.folder, self.model, self.data = folder, model, data
        self.environment = {**os.environ, "QCOMPILER_CACHE": ""}
        begun = time.monotonic()
        self.done(folder / "undisturbed.onnx", check=True)
        self.seconds = time.monotonic() - begun
        self.digest = _digest(folder / "undisturbed.onnx")

    def command(self, output: Path, *more: str) -> list[str]:
        """Fixed int8, whose bytes do not depend on times."""
        start = [sys.executable, "-m", "qcompiler", "compile", str(self.model)]
        data = ["-c", str(self.data), "--batch", "1", "--scheme", "int8", "--recipe", "fast"]
        return [*start, *data, "-q", "--budget", "0", "-o", str(output), *more]

    def done(
        self,
        output: Path,
        *more: str,
        check: bool = False,
        before: Callable[[], None] | None = None,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        return subprocess.run(
            self.command(output, *more), check=check, capture_output=True, text=True,
            preexec_fn=before, env={**self.environment, **environment},
        )  # fmt: skip

    def faults(self, output: Path, what: str) -> list[str]:
        """What is wrong with an output: another content, or something beside it."""
        found = [f"{what}: {each.name} is left" for each in output.parent.glob(".qc-*")]
        if not output.exists() or _digest(output) != self.digest:
            found.append(f"{what}: another artifact than undisturbed")
        return found


def killed(run: Compilation, chance: random.Random, count: int) -> list[str]:
    """Each time at another moment; then once to the end from what is left."""
    found = []
    for number in range(count):
        output, kept = run.folder / f"killed{number}.onnx", run.folder / f"kept{number}"
        for _ in range(2):
            going = subprocess.Popen(
                run.command(output, "--checkpoint", str(kept)), env=run.environment,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(chance.uniform(0.2, run.seconds))
            going.send_signal(signal.SIGKILL)
            going.wait()
            if output.exists() and _digest(output) != run.digest:
                found.append(f"kill {number}: half an artifact")
        ended = run.done(output, "--checkpoint", str(kept))
        if ended.returncode:
            found.append(f"kill {number}: not resumed: {ended.stderr.strip()[-200:]}")
        found += run.faults(output, f"kill {number}")
    return found


def full(run: Compilation) -> list[str]:
    """The old artifact stays, and the error is a message."""
    output = run.folder / "full.onnx"
    output.write_bytes(b"the old one")
    ended = run.done(output, before=_no_space)
    found = _refused("full disk", ended)
    if output.read_bytes() != b"the old one":
        found.append("full disk: the old file is gone")
    if list(run.folder.glob(".qc-*")):
        found.append("full disk: something is left over")
    return found


def closed(run: Compilation) -> list[str]:
    """Refused before anything is computed."""
    folder = run.folder / "closed"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):  # the superuser may write everywhere
        print("closed: not checked, the superuser may write everywhere")
        return []
    ended = run.done(folder / "out.onnx")
    return _refused("closed folder", ended)


def shared(run: Compilation) -> list[str]:
    """Two searches that keep their times in one folder."""
    cache = run.folder / "cache"
    environment = {**run.environment, "QCOMPILER_CACHE": str(cache)}
    outputs = [run.folder / f"shared{i}.onnx" for i in range(2)]
    both = [
        subprocess.Popen(
            [*run.command(each), "--scheme", "auto"], env=environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for each in outputs
    ]  # fmt: skip
    found = []
    for each, output in zip(both, outputs, strict=True):
        told = each.communicate()[1]
        if each.returncode or not output.exists():
            found.append(f"one cache: code {each.returncode}: {told.strip()[-200:]}")
    for path in cache.rglob("costs-*.json"):
        held = CostCache(path)
        held.get("a", "b")
        if held.notes:
            found += [f"one cache: {each}" for each in held.notes]
    return found


def same(run: Compilation) -> list[str]:
    """Outputs that are the model or the data, by path and by link."""
    link = run.folder / "link"
    link.symlink_to(run.model)
    found = []
    for output, more in (
        (run.model, ()), (run.data, ()), (link, ()),
        (run.folder / "o.onnx", ("--save-plan", str(run.model))),
        (run.folder / "o.onnx", ("--report", str(run.data))),
        (run.folder / "o.onnx", ("--save-plan", str(run.folder / "o.onnx"))),
    ):  # fmt: skip
        kept = (_digest(run.model), _digest(run.data))
        found += _refused(f"{output.name} {' '.join(more)[:20]}", run.done(output, *more))
        if kept != (_digest(run.model), _digest(run.data)):
            found.append(f"{output.name}: an input was written")
    return found


def _refused(what: str, ended: subprocess.CompletedProcess[str]) -> list[str]:
    if ended.returncode == 0:
        return [f"{what}: exit code 0"]
    return [f"{what}: a traceback"] if "Traceback" in ended.stderr else []


def _no_space() -> None:
    """As on a full disk: writing beyond a few kB fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_SMALL, _SMALL))


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
