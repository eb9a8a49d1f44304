"""A plan from one scheme for all regions, or from a plan that was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from qcompiler.decisions.concat_loss import drowns
from qcompiler.decisions.denials import denials
from qcompiler.decisions.options import Options
from qcompiler.decisions.schemes import SCHEMES, Scheme
from qcompiler.decisions.settling import settle
from qcompiler.errors import ConfigurationError, LegalityError
from qcompiler.ir.origin import module_path
from qcompiler.ir.plan import FLOAT, UNPLANNED, Choice, Plan
from qcompiler.ir.plan_places import Spot, label, matched
from qcompiler.quantization.observer import Observer
from qcompiler.target.capability import Implementation
from qcompiler.target.constraints import has_elements
from qcompiler.target.contract import Target

DROWNING = "its operands differ so much in size that one scale would be none for the smallest"


def planned(
    options: Sequence[Options],
    target: Target,
    scheme: str,
    given: Plan | None = None,
    observations: Mapping[str, Observer] = MappingProxyType({}),
) -> Plan:
    """The plan that is given, checked against the model, or a scheme wherever it is legal.

    Args:
        options: Legal forms by region.
        target: The target.
        scheme: Name of a scheme, or of a form of the target.
        given: A plan to apply as it is.
        observations: See `uniform_plan`.

    Raises:
        ConfigurationError: See `checked_plan`.
    """
    if given is not None:
        return checked_plan(given, options, target)
    asked = SCHEMES.get(scheme, Scheme(scheme))
    return uniform_plan(asked, options, target.name, observations)


def require_meant(options: Sequence[Options], target: Target, scheme: Scheme, plan: Plan) -> None:
    """A fixed scheme that nothing in the model can take is a mistake, not a wish for float.

    Raises:
        LegalityError: No region runs as the scheme means it, though there is something to quantize,
            and no override asks for anything.
    """
    if scheme.precision == FLOAT or any(_is_meant(scheme, each, plan) for each in options):
        return
    if any(each.demanded for each in options):
        return  # what the user asked for by overrides
    if options and all(has_elements(each.region) is not None for each in options):
        return  # there is nothing to quantize
    raise LegalityError(
        f"no region of this model can run as {scheme.precision!r} on {target.name}",
        denials(target, options, scheme.precision, scheme.takes),
        why=None if options else "it has no op that the target quantizes",
        fix="choose another scheme, or scheme='auto', which returns float and says why",
    )


def _is_meant(scheme: Scheme, option: Options, plan: Plan) -> bool:
    """Whether a region runs as the scheme means it: no form around that, nor any for a table."""
    form = option.named(plan.precision(option.region.key))
    if form is None:
        return False
    return scheme.means(form) or bool(option.region.activations and not scheme.takes(form))


def checked_plan(plan: Plan, options: Sequence[Options], target: Target) -> Plan:
    """The plan with entries for exactly these regions; overrides come before its own choices.

    Raises:
        ConfigurationError: The plan is of another target, or names a region or precision that does
            not exist here.
    """
    if plan.target != target.name:
        raise ConfigurationError(
            f"the plan is for {plan.target!r}, the target is {target.name!r}",
            why="precisions and regions are those of a target",
            fix=f"compile for {plan.target!r}, or make a plan for {target.name!r}",
        )
    regions = [each.region for each in options]
    spots = [Spot(each.key, module_path(each.anchor), each.kind) for each in regions]
    found = matched(plan.choices, spots)
    if found.entries_left:
        lost = [label(key, plan.choices[key]) for key in found.entries_left]
        new = [str(each) for each in regions if each.key in found.regions_left]
        raise ConfigurationError(
            f"the plan names the region {lost[0]}, which this model does not have",
            where=f"{len(lost)} of {len(plan.choices)} entries: {_listed(lost)}",
            why=f"{len(new)} regions without an entry: {_listed(new)}",
            fix="make a plan from this model, or remove the entries",
        )
    choices = {}
    for each in options:
        entry = found.entries.get(each.region.key)
        choices[each.region.key] = _kept(plan.choices[entry] if entry else None, each, target)
    return replace(plan, choices=choices)


def _kept(choice: Choice | None, options: Options, target: Target) -> Choice:
    """The plan's choice for a region; an override's, and float without an entry.

    Raises:
        ConfigurationError: The target has no form of that name.
    """
    if options.pinned is not None:
        return options.chosen(options.pinned, "override")
    if choice is None:
        return options.chosen(FLOAT, UNPLANNED)
    if choice.precision == FLOAT or options.named(choice.precision) is not None:
        return options.placed(choice)
    legal = [form.precision for form in options.legal]
    raise ConfigurationError(
        f"the plan gives {choice.precision!r} to {options.region}",
        why="; ".join(options.reasons) or f"{target.name} has no such form",
        fix=f"change the entry to one of {', '.join([FLOAT, *legal])}",
    )


def _listed(names: Sequence[str]) -> str:
    """The first few names."""
    shown = ", ".join(names[:5])
    return (shown + (", ..." if len(names) > 5 else "")) or "none"


def uniform_plan(
    scheme: Scheme,
    options: Sequence[Options],
    target: str,
    observations: Mapping[str, Observer] = MappingProxyType({}),
) -> Plan:
    """One scheme for all regions that have it; data movers follow what surrounds them.

    Args:
        scheme: The scheme.
        options: Legal forms by region.
        target: Name of the target.
        observations: What calibration saw: a Concat that would drown an operand stays float.
    """
    known: _Known = {}
    choices = {each.region.key: _choice(each, scheme, known) for each in options}
    _spare_operands(options, choices, observations)
    settle(options, choices, observations)
    return Plan(target, choices)


def _spare_operands(
    options: Sequence[Options], choices: dict[str, Choice], observations: Mapping[str, Observer]
) -> None:
    """Leaves those Concats in float whose one scale would be none for an operand."""
    free = {each.region.key: each for each in options if each.pinned is None}
    precisions = {key: each.precision for key, each in choices.items()}
    for key in drowns(observations, options, precisions):
        if key in free:
            choices[key] = free[key].chosen(FLOAT, DROWNING)


_Known = dict[tuple[int, int, bool], Implementation | None]
"""A scheme's choice by the identity of the forms that regions share, and whether it is a table."""


def _choice(options: Options, scheme: Scheme, known: _Known) -> Choice:
    if options.pinned is not None:
        return options.chosen(options.pinned, "override")
    table = not options.region.activations
    key = id(options.implementations), id(options.others), table
    if key not in known:
        known[key] = scheme.choose(options.legal, table)
    form = known[key]
    if form is None:
        return options.chosen(FLOAT, "; ".join(options.reasons) or f"no {scheme.precision} form")
    reason = f"scheme {scheme.precision}" + (", a table" if table else "")
    return options.chosen(form.precision, reason)
