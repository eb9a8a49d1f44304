"""What one scale for all operands of a Concat costs, predicted from the observers.

A rounding error is uniform over one step (variance s² / 12) and an operand is taken as uniform over
its range R (variance R² / 12), so its noise-to-signal ratio is (s / R)². With separate scales each
operand is rounded twice: in its own step and, by QLinearConcat, in that of the result. With a
shared scale it is rounded once, in the common step; the operand's other readers then see that too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qcompiler.decisions.placement import ConcatLoss
from qcompiler.decisions.scale_groups import Chosen
from qcompiler.quantization.numerics import choose_qparams
from qcompiler.quantization.observer import Observer
from qcompiler.quantization.qspace import Range


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
