"""`resolve-placement`: decides scales, zero points and integers of a planned program.

The decision is `qcompiler.decisions.resolve`; the passes behind this one write it into the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qcompiler.decisions.forms import region_options
from qcompiler.decisions.resolve import resolve
from qcompiler.decisions.roundings import remembered
from qcompiler.errors import ConfigurationError, LegalityError
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline.contract import Outcome, Pass, PassContext


@dataclass(frozen=True)
class ResolvePlacement(Pass):
    """Fills `program.placement` from observations and the plan; the graph stays as it is."""

    name: ClassVar[str] = "resolve-placement"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.PRECISION_ASSIGNED})
    establishes: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if context.target is None:
            raise ConfigurationError(
                "resolve-placement needs a target",
                fix="run it within qc.compile, or with PassContext(target=...)",
            )
        if program.plan is None:
            raise LegalityError("the program has no plan", fix="run assign-precision first")
        seen, source = program.observations, program.absorbed
        with remembered(source):
            options = region_options(program, context.target, context.target.regions(program))
            program.placement = resolve(seen, options, program.plan, source)
        return Outcome(details=program.placement.details)
