"""What a lint rule is: an id, a verdict, a check, a source and the nearest legal rewrite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

import onnx_ir as ir

from qcompiler.backends.tensorrt.lint.view import View
from qcompiler.ir.diagnostics import Severity


class Verdict(Enum):
    """What TensorRT does with a graph that breaks a rule; the value is the letter in reports."""

    REJECTED = "E"
    FLOAT = "P"
    NUMERICS = "N"
    ADVICE = "W"

    @property
    def words(self) -> str:
        return _WORDS[self]

    @property
    def severity(self) -> Severity:
        return _SEVERITIES[self]


_WORDS = {
    Verdict.REJECTED: "rejected",
    Verdict.FLOAT: "runs in float",
    Verdict.NUMERICS: "other numerics than ONNX",
    Verdict.ADVICE: "advice",
}
_SEVERITIES = {
    Verdict.REJECTED: Severity.ERROR,
    Verdict.FLOAT: Severity.WARNING,
    Verdict.NUMERICS: Severity.WARNING,
    Verdict.ADVICE: Severity.INFO,
}


@dataclass(frozen=True)
class Finding:
    """One breach: the node it concerns and what is wrong there.

    `verdict` overrides the rule's own where a rule has two outcomes.
    """

    node: ir.Node | None
    message: str
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Rule:
    """One row of the lint.

    Attributes:
        id: `T01`…`T23` (legality) or `P1`…`P13` (advice).
        verdict: What TensorRT does with a breach.
        text: The rule in one sentence.
        check: View -> breaches.
        reference: Where the rule is written down, or how it was measured.
        hint: The nearest legal rewrite.
    """

    id: str
    verdict: Verdict
    text: str
    check: Callable[[View], Iterator[Finding]]
    reference: str
    hint: str
