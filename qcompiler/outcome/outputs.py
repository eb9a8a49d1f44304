"""Rows of outputs: how each is judged, and what the result keeps of it."""

from __future__ import annotations

from collections.abc import Sequence

from qcompiler.measurement.judge import Judgement
from qcompiler.outputs.asked import AGREEMENT, FUNCTION
from qcompiler.outputs.tolerance import Tolerance
from qcompiler.report.rows import OutputRow


def output_rows(
    tolerances: Sequence[Tolerance], judgement: Judgement | None
) -> tuple[OutputRow, ...]:
    """A row for every output.

    Args:
        tolerances: How outputs are judged.
        judgement: What the result loses; None where float is returned.
    """
    return tuple(
        _row(tolerance, position, judgement) for position, tolerance in enumerate(tolerances)
    )


def _row(tolerance: Tolerance, position: int, judgement: Judgement | None) -> OutputRow:
    by_function = tolerance.loss == FUNCTION
    allowed = None if by_function else tolerance.bound
    name, loss, reason = tolerance.output, tolerance.loss, tolerance.reason
    if judgement is None:
        return OutputRow(name, loss, reason, allowed)
    kept = judgement.losses[position]
    verdict = judgement.verdicts[position] if judgement.verdicts else None
    if verdict is None:
        return OutputRow(name, loss, reason, allowed, kept)
    if by_function:
        return OutputRow(name, loss, reason, allowed, kept, cost=verdict.cost)
    foreseen = tolerance.predicted(kept) if tolerance.loss != AGREEMENT else None
    return OutputRow(
        name,
        loss,
        reason,
        allowed,
        kept,
        None if foreseen is None else foreseen.share,
        verdict.flipped,
        verdict.decisions,
        verdict.share,
        verdict.cost,
    )
