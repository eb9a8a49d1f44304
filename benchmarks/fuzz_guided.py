"""Files that reach new lines, by a coverage-guided fuzzer: `python -m benchmarks.fuzz_guided`.

    python -m benchmarks.fuzz_guided --seconds 600 onnx pipeline plan artifact-onnxruntime

Needs atheris (`pip install atheris`), which no other part of the project uses. The package and
onnx-ir are instrumented; each kind of file of `benchmarks.fuzz_files` is grown from the good ones
by libFuzzer's own changes and by those that know the inside (members of a zip, values of JSON and
TOML, fields of protobuf). What is no result and no error of ours is a fault, as is a process that
dies, a file that takes 60 s, or 2 GB above what the start takes. Exit code 1 if there is one.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

_KINDS = ("onnx", "pipeline", "plan", "config", "npz", "checkpoint", "artifact-onnxruntime")
_INSTRUMENTED = ["qcompiler", "onnx_ir"]
_LONGEST = 60
_MEMORY_MB = 2048
_LARGEST = 200_000
"""Bytes of a file; larger ones only cost time."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="*", default=_KINDS)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the files that are faults")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _grow(given.kinds[0], given.child, given.seconds, given.seed)
        return 0
    kept = given.keep or Path(tempfile.mkdtemp(prefix="fuzz-guided-"))
    made = kept / "good"
    if not made.exists():
        made.mkdir(parents=True)
        command = [sys.executable, "-m", "benchmarks.fuzz.corpus", str(made)]
        subprocess.run(command, check=True, env={**os.environ, "QCOMPILER_CACHE": ""})
    found = [_run(kind, kept, given.seconds, given.seed) for kind in given.kinds]
    return int(any(found))


def _run(kind: str, kept: Path, seconds: float, seed: int) -> int:
    """Number of faults of one kind; a process that dies is replaced until the time is over."""
    folder = kept / kind
    folder.mkdir(exist_ok=True)
    end, deaths = time.monotonic() + seconds, 0
    log = folder / "log.txt"
    while (left := end - time.monotonic()) > 5:
        with log.open("ab") as output:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.fuzz_guided", "--child", str(kept), kind,
                 "--seconds", str(left), "--seed", str(seed + deaths)],
                stdout=output, stderr=output, check=False,
                env={**os.environ, "QCOMPILER_CACHE": ""},
            )  # fmt: skip
        if done.returncode == 0:
            break
        deaths += 1
    tried = sum(int(each.read_text()) for each in folder.glob("tried-*"))
    faults = sorted(each.name for each in folder.glob("fault-*.txt"))
    print(f"{kind}: {tried} files, {len(faults)} faults, {deaths} processes died; {log}")
    for name in faults:
        print(f"  {(folder / name).read_text().splitlines()[0]}")
    return len(faults) + deaths


def _grow(kind: str, kept: Path, seconds: float, seed: int) -> None:
    """In a process of its own: libFuzzer ends it."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=_INSTRUMENTED):
        corpus = importlib.import_module("benchmarks.fuzz.corpus")
        corpus.preload()
    seeds = sorted((kept / "good" / kind).iterdir())
    good = [each.read_bytes() for each in seeds]
    read, taker = corpus.reader(kind), _Taker(kept / kind)
    grown = kept / kind / "grown"
    grown.mkdir(exist_ok=True)
    for number, content in enumerate(good):
        (grown / f"good-{number}").write_bytes(content)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    atheris.Setup(
        [
            sys.argv[0], str(grown), f"-max_total_time={int(seconds)}", f"-seed={seed}",
            f"-timeout={_LONGEST}", f"-rss_limit_mb={used + _MEMORY_MB}",
            f"-max_len={_LARGEST}", "-detect_leaks=0", f"-artifact_prefix={kept / kind}/",
        ],
        lambda content: taker.take(content, read),
        custom_mutator=_mutator(kind, good, atheris),
    )  # fmt: skip
    atheris.Fuzz()


class _Taker:
    """Reads one file after the other and keeps those that are faults, one for each place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = folder / f"tried-{os.getpid()}"
        self._tried = 0
        self._place = folder / f"current-{os.getpid()}.npz"

    def take(self, content: bytes, read: Any) -> None:
        from benchmarks.fuzz_files import site
        from qcompiler.errors import QCompilerError

        self._tried += 1
        if self._tried % 20 == 0:
            self._count.write_text(str(self._tried))
        self._place.write_bytes(content)
        try:
            read(self._place)
        except QCompilerError:
            return
        except BaseException as error:  # noqa: BLE001 - what is looked for
            told = site(error)
            name = "".join(c if c.isalnum() else "-" for c in told.split(": ")[0])[:80]
            (self._folder / f"fault-{name}.txt").write_text(told)
            (self._folder / f"fault-{name}.bin").write_bytes(content)


def _mutator(kind: str, good: list[bytes], atheris: Any) -> Any:
    """libFuzzer's changes for a third of the files, for the others those of this kind."""
    from benchmarks.fuzz.mutation import mutated

    def change(content: bytes, largest: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 1 / 3:
            return bytes(atheris.Mutate(content, len(content)))
        if kind in ("onnx", "artifact-onnxruntime") and chance.random() < 0.8:
            content = _other_fields(content, chance)
        else:
            content = mutated(content, chance, good)
        return content[:largest]

    return change


def _other_fields(content: bytes, chance: random.Random) -> bytes:
    """The model with some fields set anew; as it is where it is no protobuf."""
    from benchmarks.fuzz_import import of_fields

    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
        for _ in range(chance.randint(1, 4)):
            of_fields(model, chance)
        return bytes(model.SerializeToString())
    except (DecodeError, ValueError, UnicodeError):
        return content


if __name__ == "__main__":
    sys.exit(main())
