"""`assign-precision`: gives every region a precision, from a plan or from one scheme for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from qcompiler.errors import ConfigurationError
from qcompiler.ir.optraits import traits
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.regions import Region, region_of
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import uses
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.search.options import Options, region_options
from qcompiler.target.capability import Implementation
from qcompiler.target.contract import Target


@dataclass(frozen=True)
class AssignPrecision(Pass):
    """Sets `program.plan`.

    A plan in `context.options["plan"]` is applied as it is; otherwise every region gets the form
    named `scheme`, or the first legal one whose name starts with it. Ops that only move data
    follow their neighbours.

    Attributes:
        scheme: Precision name wanted wherever it is legal: `int8`, `int8-dynamic`, `float32`...
    """

    scheme: str = "int8"

    name: ClassVar[str] = "assign-precision"
    establishes: ClassVar[frozenset[Property]] = frozenset({Property.PRECISION_ASSIGNED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        target = context.target
        if target is None:
            raise ConfigurationError("assign-precision needs a target")
        given = context.options.get("plan")
        overrides = context.options.get("overrides")
        regions = target.regions(program)
        options = region_options(program, target, regions, overrides)
        if isinstance(given, Plan):
            program.plan = checked_plan(given, options, target)
        else:
            program.plan = uniform_plan(self.scheme, options, target.name)
        used = [choice.precision for choice in program.plan.choices.values()]
        return Outcome(details={name: used.count(name) for name in sorted(set(used))})


def checked_plan(plan: Plan, options: Sequence[Options], target: Target) -> Plan:
    """The plan with entries for exactly these regions; unknown keys and forms are errors.

    Raises:
        ConfigurationError: The plan names a region or precision that does not exist here.
    """
    known = {each.region.key: each for each in options}
    for key, choice in plan.choices.items():
        if key not in known:
            raise ConfigurationError(
                f"the plan names the region {key!r}, which this model does not have",
                fix="make a plan from this model, or remove the entry",
            )
        if choice.precision != FLOAT and known[key].named(choice.precision) is None:
            raise ConfigurationError(
                f"the plan gives {choice.precision!r} to {known[key].region}",
                why="; ".join(known[key].reasons) or f"{target.name} has no such form",
                fix="change the entry to float32",
            )
    missing = {key: Choice(FLOAT, "not in the plan") for key in known if key not in plan.choices}
    return Plan(plan.target, {**plan.choices, **missing})


def uniform_plan(scheme: str, options: Sequence[Options], target: str) -> Plan:
    """One scheme for all regions that have it; data movers follow what surrounds them."""
    choices: dict[str, Choice] = {}
    for each in options:
        choices[each.region.key] = _choice(each, scheme)
    _settle_movers(options, choices)
    return Plan(target, choices)


def _choice(options: Options, scheme: str) -> Choice:
    if options.pinned is not None:
        return Choice(options.pinned, "override")
    forms = [f.precision for f in options.implementations if f.precision.startswith(scheme)]
    if forms or options.named(scheme) is not None:
        return Choice(scheme if options.named(scheme) else forms[0], f"scheme {scheme}")
    return Choice(FLOAT, "; ".join(options.reasons) or f"no {scheme} form")


def _settle_movers(options: Sequence[Options], choices: dict[str, Choice]) -> None:
    """Movers start in float and turn integer beside integer neighbours, to the fixed point."""
    owner = region_of([each.region for each in options])
    forms = {each.region.key: each for each in options}

    def form_of(node: ir.Node | None) -> Implementation | None:
        region = owner.get(node) if node is not None else None
        if region is None:
            return None
        return forms[region.key].named(choices[region.key].precision)

    def writes_integers(node: ir.Node | None) -> bool:
        form = form_of(node)
        return form is not None and form.output is not None

    def reads_integers(node: ir.Node) -> bool:
        form = form_of(node)
        return form is not None and form.activation is not None

    waiting = [each for each in options if _is_free_mover(each, choices)]
    wanted = {each.region.key: choices[each.region.key] for each in waiting}
    for key in wanted:
        choices[key] = Choice(FLOAT, "its neighbours are float")
    while waiting:
        turning = [each for each in waiting if _worth(each.region, writes_integers, reads_integers)]
        if not turning:
            return
        for each in turning:
            choices[each.region.key] = wanted[each.region.key]
        waiting = [each for each in waiting if each not in turning]


def _is_free_mover(options: Options, choices: dict[str, Choice]) -> bool:
    if options.pinned is not None or not traits(options.region.anchor).shares_scale:
        return False
    if not options.region.activations:
        return False  # a look-up in a stored table has no neighbour that brings integers
    return choices[options.region.key].precision != FLOAT


def _worth(
    region: Region,
    writes_integers: Callable[[ir.Node | None], bool],
    reads_integers: Callable[[ir.Node], bool],
) -> bool:
    """Whether integers reach the mover from its producer, or all its users want them.

    A producer with an integer kernel that writes float brings none.
    """
    if any(writes_integers(operand.value.producer()) for operand in region.activations):
        return True
    users = [use.node for use in uses(region.output)]
    return bool(users) and all(reads_integers(user) for user in users)
