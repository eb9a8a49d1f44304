"""What of a placement is trained: its grids, shared where values are only moved."""

from __future__ import annotations

from dataclasses import replace

from qcompiler.decisions.binding import bound_regions
from qcompiler.decisions.placement import Placement
from qcompiler.errors import ConfigurationError
from qcompiler.ir.optraits import traits
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, is_op
from qcompiler.lowering.qat.strategy import QatState
from qcompiler.quantization.qspace import QParams
from qcompiler.target.capability import Kernel

_RECURRENT = ("LSTM", "GRU", "RNN")


def trainable_grids(program: Program, placement: Placement) -> tuple[Placement, tuple[str, ...]]:
    """The placement without forms that have no grid of their own, which train in float.

    Raises:
        ConfigurationError: There are no others.
    """
    nodes = {node.name or "": node for node in all_nodes(program.model)}
    kept, notes = {}, []
    for key, each in placement.regions.items():
        recurrent = is_op(nodes[each.nodes[0]], *_RECURRENT)
        if each.form.kernel is Kernel.DYNAMIC or recurrent:
            notes.append(f"'{key}' runs as {each.form.precision} and trains in float")
        else:
            kept[key] = each
    if not kept:
        raise ConfigurationError(
            "no region has a grid that can be trained",
            why="; ".join(notes),
            fix="take another scheme: scales of each call are not trained",
        )
    return replace(placement, regions=kept), tuple(notes)


def joined(program: Program, placement: Placement) -> Placement:
    """The placement with one grid for values that an operator only moves.

    They start from equal scales. Engines that run such an operator on integers as it is, without a
    region of its own, rely on that; trained apart, they would drift.
    """
    same: dict[int, QParams] = {}
    for node in all_nodes(program.model):
        first = node.inputs[0] if node.inputs else None
        if first is None or not traits(node).shares_scale or len(node.outputs) != 1:
            continue
        for (name, kind), params in placement.values.items():
            before = placement.values.get((first.name or "", kind))
            if name == node.outputs[0].name and before is not None and before.same_as(params):
                same[id(params)] = same.get(id(before), before)

    def one(params: QParams | None) -> QParams | None:
        return params if params is None else same.get(id(params), params)

    regions = {
        key: replace(
            each,
            written=one(each.written),
            activations=tuple(replace(read, params=one(read.params)) for read in each.activations),
        )
        for key, each in placement.regions.items()
    }
    values = {key: same.get(id(params), params) for key, params in placement.values.items()}
    return replace(placement, regions=regions, values=values)


def fixed_grids(program: Program, placement: Placement) -> frozenset[int]:
    """Parameters of values that a kernel writes into a range of its own, or that overrides fix."""
    regions = placement.regions.values()
    found = {
        id(each.written)
        for each in regions
        if each.written is not None and each.form.output_range is not None
    }
    if program.absorbed is not None and not program.absorbed.is_of_source:
        given = program.absorbed.values
        found |= {id(params) for (name, _), params in placement.values.items() if name in given}
    return frozenset(found)


def passed_on(placement: Placement) -> frozenset[str]:
    """Results of operators that only move values: they lie on the grid of the operands already."""
    return frozenset(
        each.output
        for each in placement.regions.values()
        if each.form.shares_scale
        and each.written is not None
        and each.activations
        and not each.constants
        and all(read.params is each.written for read in each.activations)
    )


def set_floors(program: Program, state: QatState) -> None:
    """Kernels that reach no scale below a multiple of their operand's."""
    for placed in bound_regions(program):
        ratios, written = placed.form.ratios, placed.decided.written
        own = state.quantizers.get(id(written))
        if ratios is None or own is None:
            continue
        read = [state.quantizers.get(id(each.params)) for each in placed.decided.activations]
        least = 1.0 / ratios(placed.region)[1]
        own.floors = [(each, least) for each in read if each is not None and each is not own]
