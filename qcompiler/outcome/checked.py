"""One sample through the integer reference, within a share of the time that was taken."""

from __future__ import annotations

from collections.abc import Sequence

from qcompiler.execution.verification import Verification
from qcompiler.execution.verifying import verify_artifact
from qcompiler.ir.signature import Feed
from qcompiler.search.goal import Selection
from qcompiler.target.contract import Target


def checked_once(
    target: Target, selection: Selection, feeds: Sequence[Feed], seconds: float
) -> Verification:
    """One sample through the integer reference; without time, only the kernels are counted."""
    if not target.evidence.timed:
        return Verification(target.name, target.tolerance_lsb)
    samples = feeds[:1] if seconds > 0 else ()
    return verify_artifact(
        selection.program, target, selection.artifact, samples, rows=1, seconds=seconds
    )
