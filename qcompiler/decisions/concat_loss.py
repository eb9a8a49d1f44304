"""What one scale for all operands of a Concat costs, predicted from the observers.

A rounding error is uniform over one step (variance s² / 12) and an operand is taken as uniform over
its range R (variance R² / 12), so its noise-to-signal ratio is (s / R)². With separate scales each
operand is rounded twice: in its own step and, by QLinearConcat, in that of the result. With a
shared scale it is rounded once, in the common step; the operand's other readers then see that too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from qcompiler.decisions.options import Options
from qcompiler.decisions.placement import ConcatLoss
from qcompiler.decisions.scale_groups import Chosen
from qcompiler.ir.optraits import traits
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.walk import uses
from qcompiler.quantization.observer import Observer
from qcompiler.quantization.parameters import choose_qparams
from qcompiler.quantization.qspace import Range

_DROWNED = 0.0075
"""Noise-to-signal ratio (21 dB) beyond which an operand has no scale any more: fewer than twelve
of its levels are left."""
_PARTING = frozenset(("Slice", "Split", "Gather", "GatherElements", "GatherND"))
"""Ops behind which a part of the joined value may have a scale of its own."""


def drowns(
    observations: Mapping[str, Observer], options: Sequence[Options], precisions: Mapping[str, str]
) -> list[str]:
    """Concats whose one scale costs an operand its signal, where float would keep it, by key.

    Boxes in pixels beside scores in 0..1 are what detectors end with: in the scale of the boxes,
    all scores are 0. A kernel that computes with the joined integers needs that scale wherever it
    is rounded; whatever else reads the result (an output, a Slice, an op in float) does not.

    Args:
        observations: What calibration saw, by value name.
        options: Legal forms of the regions.
        precisions: What they are to run as; float where nothing is said.
    """
    chosen = [
        Chosen(each.region, form)
        for each in options
        if (form := each.named(precisions.get(each.region.key, FLOAT))) is not None
    ]
    reading = {
        node: each
        for each in chosen
        if each.form.activation is not None
        for node in each.region.nodes
    }
    outputs = {each.region.key: each.region.output for each in chosen}
    return [
        key
        for key, loss in concat_losses(observations, chosen).items()
        if loss.least > _DROWNED and not _only_computed(outputs[key], reading)
    ]


def _only_computed(value: ir.Value, reading: Mapping[ir.Node, Chosen]) -> bool:
    """Whether all that becomes of a value is computed with in integers, behind movers too."""
    if value.is_graph_output():
        return False
    readers = [use.node for use in uses(value)]
    return bool(readers) and all(_computes(node, reading) for node in readers)


def _computes(node: ir.Node, reading: Mapping[ir.Node, Chosen]) -> bool:
    if node.op_type in _PARTING:
        return False
    if traits(node).shares_scale:
        return all(_only_computed(each, reading) for each in node.outputs)
    return node in reading


def concat_losses(
    observations: Mapping[str, Observer], chosen: Sequence[Chosen]
) -> dict[str, ConcatLoss]:
    """Predicted losses of both forms for every quantized Concat, by region key."""
    losses = {
        each.region.key: _loss(observations, each)
        for each in chosen
        if each.region.kind == "Concat"
    }
    return {key: loss for key, loss in losses.items() if loss is not None}


def _loss(observations: Mapping[str, Observer], chosen: Chosen) -> ConcatLoss | None:
    space = chosen.form.activation
    if space is None:
        return None
    ranges = []
    for operand in chosen.region.activations:
        seen = observations.get(operand.value.name or "")
        if seen is not None and seen.count:
            ranges.append(seen.range_for(space).with_zero())
    ranges = [each for each in ranges if each.high > each.low]
    if len(ranges) < 2:
        return None
    joined = ranges[0]
    for each in ranges[1:]:
        joined = joined.union(each)
    common = float(choose_qparams(joined.low, joined.high, space).scale)
    smallest = min(ranges, key=_span)
    own = float(choose_qparams(smallest.low, smallest.high, space).scale)
    coarse, fine = (common / _span(smallest)) ** 2, (own / _span(smallest)) ** 2
    return ConcatLoss(coarse, coarse + fine, coarse, fine)


def _span(found: Range) -> float:
    return found.high - found.low
