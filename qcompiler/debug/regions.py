"""Losses by region: each alone, and with all before it, in one model with switches."""

from __future__ import annotations

from collections.abc import Sequence

from qcompiler.debug.rows import DebuggedRegion
from qcompiler.decisions.options import Options
from qcompiler.decisions.placement import Placement
from qcompiler.execution.session import OrtSession
from qcompiler.ir.origin import module_path, source_line
from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.gates import gates_of_plan, together
from qcompiler.measurement.parts import Slicer
from qcompiler.measurement.probing import Prober
from qcompiler.pipeline.contract import Progress, step

_AT_ONCE = 16
"""Losses between two updates of the progress: enough for every worker."""


def debugged_regions(
    base: Program,
    options: Sequence[Options],
    plan: Plan,
    placement: Placement,
    feeds: Sequence[Feed],
    progress: Progress,
) -> tuple[tuple[DebuggedRegion, ...], float]:
    """Rows of the quantized regions, and the loss of all of them together.

    Args:
        base: The float program, calibrated.
        options: Legal forms of its regions, in graph order.
        plan: What every region runs as.
        placement: Ranges that were decided.
        feeds: Samples.
        progress: Told of every loss.
    """
    chosen = [found for each in options if (found := each.running(plan)) is not None]
    if not chosen:
        return (), 0.0
    session = OrtSession(base.model)
    reference = [session.run_checked(feed) for feed in feeds]
    model, terms = gates_of_plan(base, chosen, placement.values)
    until = [together(terms[: number + 1]) for number in range(len(terms))]
    slices = Slicer(base)(feeds, reference)
    asked, losses = [*terms, *until], list[float]()
    with Prober(model, feeds, None, slices) as prober, step(progress, "regions", len(asked)):
        for start in range(0, len(asked), _AT_ONCE):
            losses += prober.losses(asked[start : start + _AT_ONCE])
            progress.advance(len(losses) - start)
    alone, cumulated = losses[: len(terms)], losses[len(terms) :]
    rows = tuple(
        DebuggedRegion(
            each.region.key,
            "+".join(node.op_type for node in each.region.nodes),
            module_path(each.region.anchor),
            source_line(each.region.anchor),
            each.implementations[0].precision,
            own,
            whole,
        )
        for each, own, whole in zip(chosen, alone, cumulated, strict=True)
    )
    return rows, cumulated[-1]
