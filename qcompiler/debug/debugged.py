"""`debugged`: the debug report of a compilation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qcompiler.debug.regions import debugged_regions
from qcompiler.debug.report import DebugReport
from qcompiler.debug.rows import DebuggedVariant
from qcompiler.debug.values import debugged_values
from qcompiler.execution.session import OrtSession
from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.loss import noise_to_signal
from qcompiler.measurement.parts import Slicer
from qcompiler.pipeline.contract import Progress
from qcompiler.search.goal import Selection


def debugged(
    selection: Selection,
    placed: Program,
    plan: Plan,
    run: Callable[[Feed], Sequence[object]],
    feeds: Sequence[Feed],
    source: Program,
    progress: Progress,
) -> DebugReport:
    """Where a compiled program loses what it loses.

    Args:
        selection: What the search chose.
        placed: The program that was lowered.
        plan: What its regions run as.
        run: The artifact.
        feeds: Samples.
        source: What was compiled.
        progress: Told of every loss.
    """
    session = OrtSession(source.model)
    reference = [session.run_checked(feed) for feed in feeds]
    slices = Slicer(source)(feeds, reference)
    measured = noise_to_signal(reference, [list(run(feed)) for feed in feeds], slices)
    variants = tuple(
        DebuggedVariant(each.variant, each.before, each.after, each.kept, each.note)
        for each in selection.tried
    )
    base, placement = selection.base, placed.placement
    if placement is None:
        named = (source.provenance.source, plan.target)
        return DebugReport(*named, len(feeds), measured, 0.0, variants=variants)
    regions, simulated = debugged_regions(base, selection.options, plan, placement, feeds, progress)
    return DebugReport(
        source.provenance.source,
        plan.target,
        len(feeds),
        measured,
        simulated,
        regions,
        debugged_values(base, placed, feeds),
        variants,
    )
