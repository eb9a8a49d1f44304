"""What can be attached to a pipeline: timing, IR dumps, verification, statistics, bisection."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from qcompiler.errors import InvalidProgramError
from qcompiler.files.writing import make_folder, write_text
from qcompiler.ir.diagnostics import Severity
from qcompiler.ir.program import Program
from qcompiler.ir.text import to_text
from qcompiler.ir.verifier import verify
from qcompiler.ir.walk import all_nodes
from qcompiler.pipeline.contract import Pass, PassReport


class Instrument(Protocol):
    """Is told about every pass that a pipeline runs, inner passes of combinators included.

    `number` counts executions from 1; a combinator itself is not counted.
    """

    def allows(self, each: Pass, number: int) -> bool:
        """Whether the pass may run; one refusal skips it."""

    def before(self, each: Pass, program: Program, number: int) -> None: ...

    def after(self, each: Pass, program: Program, number: int, report: PassReport) -> None: ...


class Watcher:
    """An instrument that allows everything and does nothing; the base of the ones below."""

    def allows(self, each: Pass, number: int) -> bool:
        return True

    def before(self, each: Pass, program: Program, number: int) -> None:
        return None

    def after(self, each: Pass, program: Program, number: int, report: PassReport) -> None:
        return None


@dataclass(frozen=True)
class Measurement:
    """Cost of one pass: wall seconds, and the process's peak memory in bytes when it ended.

    `peak` is the high-water mark of the whole process (0 where the system does not tell).
    """

    number: int
    name: str
    seconds: float
    peak: int


@dataclass
class Timing(Watcher):
    """Wall time and peak memory of every pass, in `measurements`."""

    measurements: list[Measurement] = field(default_factory=list)
    _begun: dict[int, float] = field(default_factory=dict, repr=False)

    def before(self, each: Pass, program: Program, number: int) -> None:
        self._begun[number] = time.perf_counter()

    def after(self, each: Pass, program: Program, number: int, report: PassReport) -> None:
        seconds = time.perf_counter() - self._begun.pop(number)
        self.measurements.append(Measurement(number, each.name, seconds, peak_memory()))


@dataclass
class IRDump(Watcher):
    """Writes the IR as text after every pass that modified it: `003-fuse-conv-bn.txt`.

    What the first pass is given is `000-start.txt`.

    Attributes:
        folder: Made if it does not exist.
    """

    folder: Path

    def before(self, each: Pass, program: Program, number: int) -> None:
        if number == 1:
            self._write("000-start", program)

    def after(self, each: Pass, program: Program, number: int, report: PassReport) -> None:
        if report.modified:
            name = re.sub(r"[^\w.-]+", "-", each.name)
            self._write(f"{number:03d}-{name}", program)

    def _write(self, stem: str, program: Program) -> None:
        write_text(make_folder(self.folder) / f"{stem}.txt", to_text(program))


@dataclass
class VerifyEach(Watcher):
    """Verifies the program after every pass.

    Raises (from `after`):
        InvalidProgramError: With the verifier's diagnostics; the error names the pass.
    """

    def after(self, each: Pass, program: Program, number: int, report: PassReport) -> None:
        found = [
            diagnostic
            for diagnostic in verify(program, stage=f"after {each.name}")
            if diagnostic.severity is Severity.ERROR
        ]
        if found:
            raise InvalidProgramError(f"pass '{each.name}' left a broken program", found)


@dataclass
class Statistics(Watcher):
    """Edits and ops by pass execution.

    Attributes:
        edits: (number, name) → edits made.
        ops: (number, name) → how often each op occurs afterwards.
    """

    edits: dict[tuple[int, str], int] = field(default_factory=dict)
    ops: dict[tuple[int, str], Counter[str]] = field(default_factory=dict)

    def after(self, each: Pass, program: Program, number: int, report: PassReport) -> None:
        self.edits[number, each.name] = report.edits.total
        self.ops[number, each.name] = Counter(n.op_type for n in all_nodes(program.model))


@dataclass(frozen=True)
class Bisect(Watcher):
    """Lets passes up to a number run and skips the rest; see `qcompiler.pipeline.bisection`.

    Attributes:
        last: The highest number that runs.
    """

    last: int

    def allows(self, each: Pass, number: int) -> bool:
        return number <= self.last


def peak_memory() -> int:
    """The process's peak resident memory in bytes; 0 where the system does not tell."""
    try:
        import resource  # POSIX only
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
