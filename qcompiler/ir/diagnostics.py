"""What the verifier, a legality check or a lint has to say about a program."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from qcompiler.printable import one_line


class Severity(IntEnum):
    """How bad a finding is; comparable, `ERROR` is the highest."""

    INFO = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True)
class Diagnostic:
    """One finding.

    Attributes:
        severity: `ERROR` when the program must not be used as it is.
        rule: A stable identifier, such as `V03` (verifier) or `T02` (TensorRT lint).
        message: What is wrong, in one sentence.
        node: Name of the offending node, if there is one.
        source: `file:line` of the user's code, if it is known.
        hint: The nearest thing that would be right.
        reference: Paper, spec section or thread that the rule rests on.
    """

    severity: Severity
    rule: str
    message: str
    node: str | None = None
    source: str | None = None
    hint: str | None = None
    reference: str | None = None

    def __str__(self) -> str:
        where = " ".join(part for part in (self.node, self.source) if part)
        text = f"{self.severity.name.lower()} {self.rule}: {self.message}"
        text += f" [at {where}]" if where else ""
        return one_line(text + (f" (hint: {self.hint})" if self.hint else ""))
