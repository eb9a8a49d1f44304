"""What follows from neighbours: data movers take their form, results nobody reads stay float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from types import MappingProxyType

import onnx_ir as ir

from qcompiler.decisions.options import Options
from qcompiler.ir.clamping import bounds_of
from qcompiler.ir.optraits import traits
from qcompiler.ir.plan import FLOAT, Choice
from qcompiler.ir.regions import Region, region_of
from qcompiler.ir.walk import uses
from qcompiler.quantization.chosen import is_users
from qcompiler.quantization.observer import Observer
from qcompiler.target.capability import Implementation

UNREAD = "nothing reads its result in integers"


def settle(
    options: Sequence[Options],
    choices: dict[str, Choice],
    observations: Mapping[str, Observer] = MappingProxyType({}),
) -> None:
    """Changes what was chosen for every region by itself where its neighbours make it pointless.

    A result that nothing reads in integers is not rounded where the kernel can write float: the
    sum is there, and rounding it only loses. An output of the network is rounded as asked, and so
    is a value whose range the user gave, and what a Relu or Clip reads, which saturation does then
    (ONNX Runtime has no integer product in front of a Relu that writes float). Ops that only move
    data follow what surrounds them.

    Args:
        options: Legal forms by region.
        choices: The choice for each of them, by key; changed. What the user pinned stays.
        observations: What calibration saw, by value name.
    """
    _leave_unread(options, choices, {name for name, seen in observations.items() if is_users(seen)})
    _settle_movers(options, choices)


def without_output(options: Options, form: Implementation) -> Implementation | None:
    """The form that computes the same in integers and writes float; None if there is none.

    An activation that is done by saturation is no longer free there, so such regions stay.
    """
    if form.output is None or form.weight is None or options.region.activation_node is not None:
        return None
    alike = (
        each
        for each in options.legal
        if each.output is None
        and (each.kernel, each.activation, each.weight)
        == (form.kernel, form.activation, form.weight)
        and (each.simulated, each.size_only) == (form.simulated, form.size_only)
    )
    return next(alike, None)


def _leave_unread(options: Sequence[Options], choices: dict[str, Choice], given: Set[str]) -> None:
    read = _read_in_integers(options, choices)
    for each in options:
        choice, output = choices[each.region.key], each.region.output
        form = None if each.pinned is not None else each.named(choice.precision)
        twin = None if form is None else without_output(each, form)
        kept = output.name in given or output.is_graph_output() or output in read
        kept = kept or any(bounds_of(use.node) is not None for use in uses(output))
        if twin is not None and not kept:
            choices[each.region.key] = each.chosen(twin.precision, f"{choice.reason}; {UNREAD}")


def _read_in_integers(options: Sequence[Options], choices: Mapping[str, Choice]) -> set[ir.Value]:
    """What kernels read in integers, movers between or not; what these give out counts as read."""
    movers: dict[ir.Value, Region] = {}
    pending: list[Region] = []
    for each in options:
        region, form = each.region, each.named(choices[each.region.key].precision)
        if _is_free_mover(each, choices):
            movers[region.output] = region
        elif form is not None and form.activation is not None:
            pending.append(region)
    pending += [region for value, region in movers.items() if value.is_graph_output()]
    read: set[ir.Value] = set()
    while pending:
        nodes = pending.pop().nodes
        found = {value for node in nodes for value in node.inputs if value is not None}
        pending += [movers[value] for value in found - read if value in movers]
        read |= found
    return read


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
        choices[key] = forms[key].chosen(FLOAT, "its neighbours are float")
    if all(choice.precision == FLOAT for choice in choices.values()):
        choices.update(wanted)  # nothing but movers: as asked
        return
    while waiting:
        left = []
        for each in waiting:
            if _worth(each.region, writes_integers, reads_integers):
                choices[each.region.key] = wanted[each.region.key]
            else:
                left.append(each)
        if len(left) == len(waiting):
            return
        waiting = left


def _is_free_mover(options: Options, choices: Mapping[str, Choice]) -> bool:
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
