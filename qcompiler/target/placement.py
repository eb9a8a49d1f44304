"""Which regions of a planned program are quantized how: regions joined with the plan's forms."""

from __future__ import annotations

from dataclasses import dataclass

from qcompiler.errors import LegalityError
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Operand, Region, find_regions
from qcompiler.target.capability import Implementation, Kernel
from qcompiler.target.contract import Target


@dataclass(frozen=True, eq=False)
class Placed:
    """A region and the quantized form that the plan gives it."""

    region: Region
    form: Implementation

    @property
    def quantized_operands(self) -> tuple[Operand, ...]:
        """The operands that the form reads as integers."""
        if self.form.activation is None:
            return ()
        return self.form.choose_operands(self.region.activations)


def placed_regions(
    program: Program, target: Target, kernel: Kernel = Kernel.STATIC
) -> list[Placed]:
    """The regions that the plan runs in a quantized form of this kind, in graph order.

    Raises:
        LegalityError: The program has no plan, or the plan asks for a form that is not legal.
    """
    if program.plan is None:
        raise LegalityError("the program has no plan", fix="run assign-precision first")
    if not _planned(program.plan, target, kernel):
        return []
    placed = []
    for region in target.regions(program):
        precision = program.plan.precision(region.key)
        if precision == FLOAT:
            continue
        form = target.implementation(region, precision)
        if form is None and Property.QDQ_EXPLICIT in program.properties:
            continue  # a mover that already works on integers
        if form is None:
            raise LegalityError(
                f"{region} cannot run as {precision} on {target.name}",
                target.objections(region),
            )
        if form.kernel is kernel:
            placed.append(Placed(region, form))
    return placed


def _planned(plan: Plan, target: Target, kernel: Kernel) -> bool:
    """Whether the plan has any precision that the target runs with this kind of kernel."""
    wanted = {
        form.precision
        for row in target.capabilities.rows
        for form in row.implementations
        if form.kernel is kernel
    }
    return any(choice.precision in wanted for choice in plan.choices.values())


def lowered_regions(program: Program, target: Target) -> list[Region]:
    """Regions of a placed program, with the movers that already work on integers."""
    found = target.regions(program)
    keys = {region.key for region in found}
    patterns = target.capabilities.patterns
    return found + [each for each in find_regions(program, patterns) if each.key not in keys]
