"""Mutated files of every kind that is read: `python -m benchmarks.fuzz_files --seconds 480`.

Each file is read in a child process with 2 GB above what the imports take and 60 s. What counts as
a fault: an exception that is not ours, a process that dies, a file that takes longer. Exit code 1
if there is one; `--keep FOLDER` keeps the files. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fuzz.corpus import preload, reader
from benchmarks.fuzz.mutation import mutated
from benchmarks.waiting import waited
from qcompiler.errors import QCompilerError

_MEMORY = 2 << 30
_LONGEST = 60.0
_BATCH = {"onnx": 60, "artifact-executorch": 10, "applied": 20, "config": 20}
"""Files that one child reads; 300 of the other kinds but artifacts, of which it is 30."""


@dataclass
class Outcome:
    """What became of the files of one kind."""

    ended: Counter[str] = field(default_factory=Counter)
    faults: dict[str, Path] = field(default_factory=dict)
    slowest: float = 0.0


def main() -> int:
    given = _arguments()
    kept = given.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", "benchmarks.fuzz.corpus", name]
        subprocess.run(command, check=True, env={**os.environ, "QCOMPILER_CACHE": ""})
        preload()
        kinds = sorted(each.name for each in folder.iterdir())
        if given.kinds:
            kinds = [each for each in kinds if any(word in each for word in given.kinds)]
        found = {kind: Outcome() for kind in kinds}
        end, turn = time.monotonic() + given.seconds, 0
        while time.monotonic() < end:
            for kind in kinds:
                _batch(folder, kind, f"{given.seed}-{turn}", found[kind], kept)
            turn += 1
    return _told(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the files that are faults")
    parser.add_argument("kinds", nargs="*", help="words of kinds; all by default")
    return parser.parse_args()


def _batch(folder: Path, kind: str, seed: str, outcome: Outcome, kept: Path) -> None:
    """One child and the files that it reads, until one of them ends it."""
    size = _BATCH.get(kind, 30 if kind.startswith("artifact-") else 300)
    good = [each.read_bytes() for each in sorted((folder / kind).iterdir())]
    chance = random.Random(f"{seed}-{kind}")
    contents = [good[0], *(mutated(chance.choice(good), chance, good) for _ in range(size - 1))]
    place = kept / f"current-{kind}.npz" if kind == "npz" else kept / f"current-{kind}"
    begin = 0
    while begin < size:
        done, first = _child(kind, contents[begin:], place, outcome, kept)
        if begin == 0 and first != "taken":  # the control: the undamaged file comes first
            _count(f"fault: the good file, {first}", good[0], kind, outcome, kept)
        begin += done
    place.unlink(missing_ok=True)


def _child(
    kind: str, contents: list[bytes], place: Path, outcome: Outcome, kept: Path
) -> tuple[int, str]:
    """Reads files in a child; returns how many are done, and what became of the first."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _read_all(kind, contents, place, tell)
        os._exit(0)
    os.close(tell)
    done, first = 0, ""
    with os.fdopen(told) as lines:
        while done < len(contents):
            ready, seconds = waited(lines.fileno(), _LONGEST, pid)
            line = lines.readline().strip() if ready else "fault: more than 60 s"
            if not line:
                break
            outcome.slowest = max(outcome.slowest, seconds)
            done += 1
            first = first or line
            _count(line, contents[done - 1], kind, outcome, kept)
            if not ready:
                break
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if done < len(contents) and ready:
        done += 1
        line = f"fault: the process died, status {status}"
        first = first or line
        _count(line, contents[done - 1], kind, outcome, kept)
    return done, first


def _read_all(kind: str, contents: list[bytes], place: Path, tell: int) -> None:
    """In the child: one line for each file."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    limit = _mapped() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    read = reader(kind)
    for content in contents:
        place.write_bytes(content)
        try:
            read(place)
            line = "taken"
        except QCompilerError as error:
            line = f"refused: {_one_line(error)}"
        except BaseException as error:  # noqa: BLE001 - what is looked for
            line = f"fault: {site(error)}"
        os.write(tell, f"{line}\n".encode())


def _mapped() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def site(error: BaseException) -> str:
    """Kind and place of an exception, equal for all files with the same fault."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [each for each in frames if "qcompiler" in each.filename or "backends" in each.filename]
    at = ours[-1] if ours else frames[-1]
    place = f"{Path(at.filename).name}:{at.lineno} {at.name}"
    return f"{type(error).__name__} at {place}: {_one_line(error)[:100]}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400].encode("ascii", "replace").decode()


def _count(line: str, content: bytes, kind: str, outcome: Outcome, kept: Path) -> None:
    head, _, what = line.partition(": ")
    outcome.ended[head] += 1
    if head == "fault":
        site = what.split(": ")[0]
        if site not in outcome.faults:
            path = kept / f"{kind}-{len(outcome.faults)}"
            path.write_bytes(content)
            outcome.faults[site] = path
            print(f"{kind}: {what}  [{path}]", flush=True)


def _told(found: dict[str, Outcome]) -> int:
    for kind, each in found.items():
        counts = ", ".join(f"{count} {head}" for head, count in sorted(each.ended.items()))
        print(f"{kind:22} {counts}; slowest {each.slowest:.1f} s; {len(each.faults)} faults")
    return int(any(each.faults for each in found.values()))


if __name__ == "__main__":
    sys.exit(main())
