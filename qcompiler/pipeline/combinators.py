"""Passes made of passes: `Sequential` and `FixedPoint`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from qcompiler.errors import PipelineError
from qcompiler.ir.edits import EditCounts
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline.adapters import as_pass
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, PassReport


@dataclass(frozen=True)
class Combinator(Pass):
    """A pass that runs other passes; the pipeline instruments and checks its children.

    Attributes:
        passes: The children, in order; what `as_pass` takes is wrapped.
    """

    passes: tuple[Pass, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "passes", tuple(as_pass(each) for each in self.passes))
        if not self.passes:
            raise PipelineError(f"'{self.name}' has no passes", fix=f"write {self.name}(a,b)")

    def run(self, program: Program, context: PassContext) -> PassReport:
        children, details = self.run_children(program, context)
        diagnostics = tuple(found for child in children for found in child.diagnostics)
        return PassReport(self.name, EditCounts(), diagnostics, details, tuple(children))

    @abstractmethod
    def run_children(
        self, program: Program, context: PassContext
    ) -> tuple[list[PassReport], dict[str, Any]]:
        """Runs the children; gives their reports and details for this pass's own report."""

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        """A combinator edits nothing itself."""
        return Outcome()


@dataclass(frozen=True)
class Sequential(Combinator):
    """Runs passes one after the other."""

    name = "sequential"

    def run_children(
        self, program: Program, context: PassContext
    ) -> tuple[list[PassReport], dict[str, Any]]:
        return _round(self.passes, program, context), {}


@dataclass(frozen=True)
class FixedPoint(Combinator):
    """Runs passes again and again until a whole round edits nothing.

    Attributes:
        limit: Most rounds; when the last one still edited, the report's `converged` is false.
    """

    name = "fixed-point"
    limit: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.limit < 1:
            raise PipelineError(
                f"'{self.name}' needs a limit of 1 or more, not {self.limit}",
                fix="give a whole number from 1 on",
            )

    def run_children(
        self, program: Program, context: PassContext
    ) -> tuple[list[PassReport], dict[str, Any]]:
        reports: list[PassReport] = []
        for number in range(1, self.limit + 1):
            latest = _round(self.passes, program, context)
            reports += latest
            if not any(report.modified for report in latest):
                return reports, {"rounds": number, "converged": True}
        return reports, {"rounds": self.limit, "converged": False}


def _round(passes: tuple[Pass, ...], program: Program, context: PassContext) -> list[PassReport]:
    return [context.run_pass(each, program) for each in passes]
