"""`assign-precision`: gives every region a precision, from a plan or from one scheme for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qcompiler.decisions.planning import planned
from qcompiler.errors import ConfigurationError
from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.pipeline.options_of import options_of


@dataclass(frozen=True)
class AssignPrecision(Pass):
    """Sets `program.plan`.

    A plan in `context.options["plan"]` is applied as it is; otherwise every region gets the legal
    form that the scheme prefers (`PREFERENCES` of `decisions.schemes`). Ops that only move data
    follow their neighbours.

    Attributes:
        scheme: Name of a scheme (`int8`, `dynamic`, `float32`, ...) or of a form of the target.
    """

    scheme: str = "int8"

    name: ClassVar[str] = "assign-precision"
    establishes: ClassVar[frozenset[Property]] = frozenset({Property.PRECISION_ASSIGNED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        target = context.target
        if target is None:
            raise ConfigurationError(
                "assign-precision needs a target",
                fix="run it within qc.compile, or with PassContext(target=...)",
            )
        given = context.options.get("plan")
        options = options_of(program, target, context)
        plan = given if isinstance(given, Plan) else None
        program.plan = planned(options, target, self.scheme, plan, program.observations)
        used = [choice.precision for choice in program.plan.choices.values()]
        return Outcome(details={name: used.count(name) for name in sorted(set(used))})
