"""Mutated ONNX files through `load` and `compile`: what escapes is a fault.

    python -m benchmarks.fuzz_import [--minutes 2] [--seed 1] [--seconds 20] [--compile 0.1]

Seeds are small models of the ONNX backend suite, a network with external structure (functions,
branches, loops) and the digits classifier. A mutant is made from bytes (flips, cuts, copies) or
from fields (any scalar, string or message of the protobuf set anew, doubled, dropped, exchanged).
Each runs in a worker with limited time and memory; every exception that is no `QCompilerError`,
every death and every mutant that does not end is printed with its seed number, which makes it
again.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import onnx

from benchmarks.backend_cases import cases
from examples.digits.data import ONNX_FILE
from qcompiler.compile import compile as compile_
from qcompiler.errors import QCompilerError
from qcompiler.frontends import load

_BYTES = 4 << 30
_NUMBERS = (0, 1, -1, 2, 7, 255, 2**31 - 1, -(2**31), 2**40, 2**62, -(2**63))
_TEXTS = ("", "x", "\0", "Loop", "ai.onnx", "unk__0", "../../etc/passwd", "y" * 300, "\udcff")


def seeds(count: int = 60) -> list[bytes]:
    """Serialized models to start from, all small."""
    found = [case.model.SerializeToString() for case in cases(count)]
    return [*(each for each in found if len(each) < 100_000), ONNX_FILE.read_bytes()]


def mutant(number: int, originals: Sequence[bytes]) -> bytes:
    """The mutant of this number; the same for the same seeds."""
    source = random.Random(number)
    content = source.choice(originals)
    if source.random() < 0.4:
        return _of_bytes(content, source)
    model = onnx.ModelProto.FromString(content)
    for _ in range(source.randint(1, 4)):
        of_fields(model, source)
    try:
        return bytes(model.SerializeToString())
    except (ValueError, UnicodeError):  # a text that protobuf cannot write
        return _of_bytes(content, source)


def _of_bytes(content: bytes, source: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(source.randint(1, 8)):
        at = source.randrange(max(1, len(data)))
        match source.randrange(4):
            case 0:
                data[at : at + 1] = bytes([source.randrange(256)])
            case 1:
                del data[at : at + source.randint(1, 16)]
            case 2:
                data[at:at] = data[at : at + source.randint(1, 64)]
            case _:
                end = len(data) if source.random() < 0.1 else at + 1
                del data[at:end]
    return bytes(data)


def of_fields(message: Any, source: random.Random) -> None:
    """Walks down to a random message and changes one of its fields."""
    while True:
        fields = message.ListFields()
        inner = [(f, v) for f, v in fields if f.type == f.TYPE_MESSAGE]
        if not inner or (fields and source.random() < 0.25):
            break
        field, value = source.choice(inner)
        if field.is_repeated:
            if source.random() < 0.1:
                _of_list(value, source)
                return
            value = source.choice(value)
        message = value
    if message.DESCRIPTOR.fields:
        _set(message, source.choice(message.DESCRIPTOR.fields), source)


def _of_list(values: Any, source: random.Random) -> None:
    match source.randrange(3):
        case 0:
            values.append(source.choice(values))
        case 1:
            del values[source.randrange(len(values))]
        case _:
            first, second = (source.choice(values) for _ in range(2))
            kept = type(first)()
            kept.CopyFrom(first)
            first.CopyFrom(second)
            second.CopyFrom(kept)


def _set(message: Any, field: Any, source: random.Random) -> None:
    if field.type == field.TYPE_MESSAGE:
        message.ClearField(field.name)
        return
    if source.random() < 0.2:
        message.ClearField(field.name)
        return
    value: Any = source.choice(_NUMBERS)
    if field.type == field.TYPE_STRING:
        others = [n for n in ("x", "y", "w", "data", "output") if n]
        value = source.choice((*_TEXTS, *others))
    elif field.type == field.TYPE_BYTES:
        value = source.randbytes(source.randint(0, 40))
    elif field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        value = source.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
    try:
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    except (ValueError, TypeError, UnicodeError):
        message.ClearField(field.name)


def attempt(content: bytes, path: Path, *, compiles: bool) -> str:
    """What happened: `taken`, `refused`, or the foreign exception."""
    path.write_bytes(content)
    try:
        if compiles:
            compile_(path, scheme="dynamic", recipe="fast", budget=0)
        else:
            load(path)
    except QCompilerError:
        return "refused"
    except BaseException as error:  # noqa: BLE001 - what escapes is the finding
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return "taken"


def _work(pipe: Connection, originals: Sequence[bytes], compiled: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    with tempfile.TemporaryDirectory() as folder:
        while (number := pipe.recv()) >= 0:
            compiles = random.Random(-number).random() < compiled
            pipe.send(attempt(mutant(number, originals), Path(folder, "m.onnx"), compiles=compiles))


def _hired(originals: Sequence[bytes], compiled: float) -> tuple[BaseProcess, Connection]:
    context = get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, originals, compiled), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def fuzz(
    originals: Sequence[bytes], first: int, minutes: float, seconds: float, compiled: float
) -> tuple[Counter[str], dict[int, str]]:
    """Tries mutants from number `first` on; returns counts of outcomes and the findings."""
    until, number = time.monotonic() + 60 * minutes, first
    counts: Counter[str] = Counter()
    findings: dict[int, str] = {}
    process, pipe = _hired(originals, compiled)
    while time.monotonic() < until:
        pipe.send(number)
        try:
            outcome = pipe.recv() if pipe.poll(seconds) else f"no end after {seconds:g} s"
        except EOFError:
            process.join()
            outcome = f"the process died, exit code {process.exitcode}"
        counts[outcome if outcome in ("taken", "refused") else "fault"] += 1
        if outcome not in ("taken", "refused"):
            findings[number] = outcome
            if not process.is_alive() or outcome.startswith("no end"):
                process.kill()
                process, pipe = _hired(originals, compiled)
        number += 1
    process.kill()
    return counts, findings


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0, help="time of one mutant")
    parser.add_argument("--compile", type=float, default=0.1, help="share that is compiled, too")
    given = parser.parse_args()
    first = given.seed * 10_000_000
    counts, findings = fuzz(seeds(), first, given.minutes, given.seconds, given.compile)
    for number, text in findings.items():
        print(f"{number}: {text}")
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))


if __name__ == "__main__":
    main()
