"""What one scale for all operands of a Concat costs, predicted from the observers.

A rounding error is uniform over one step (variance s² / 12) and an operand is taken as uniform over
its range R (variance R² / 12), so its noise-to-signal ratio is (s / R)². With separate scales each
operand is rounded twice: in its own step and, by QLinearConcat, in that of the result. With a
shared scale it is rounded once, in the common step; the operand's other readers then see that too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from qcompiler.ir.program import Program
from qcompiler.quantization.numerics import choose_qparams
from qcompiler.quantization.qspace import Range
from qcompiler.target.placement import Placed


@dataclass(frozen=True)
class ConcatLoss:
    """Noise-to-signal ratios of the operand that suffers most.

    Attributes:
        shared: One scale for operands and result.
        separate: Own scales, brought to the result's by the kernel.
        operand_shared: What other readers of the operand see with one scale.
        operand_separate: What they see with own scales.
    """

    shared: float
    separate: float
    operand_shared: float
    operand_separate: float


def concat_losses(program: Program, placed: Sequence[Placed]) -> dict[str, dict[str, float]]:
    """Predicted losses of both forms for every quantized Concat, by region key."""
    found = {}
    for each in placed:
        loss = _loss(program, each) if each.region.kind == "Concat" else None
        if loss is not None:
            found[each.region.key] = asdict(loss)
    return found


def _loss(program: Program, placed: Placed) -> ConcatLoss | None:
    space = placed.form.activation
    if space is None:
        return None
    ranges = []
    for operand in placed.region.activations:
        seen = program.observations.get(operand.value.name or "")
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
