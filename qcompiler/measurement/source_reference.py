"""The source of a compilation as the reference of float, where there is something to run."""

from __future__ import annotations

from collections.abc import Sequence

from qcompiler.errors import LoweringError
from qcompiler.execution.session import OrtSession
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.other_batch import with_other_batch
from qcompiler.measurement.parts import Slicer
from qcompiler.measurement.source_check import Run, SourceCheck
from qcompiler.measurement.sources import reference_of
from qcompiler.target.artifact import Artifact
from qcompiler.target.contract import Target


def source_check_of(
    model: object,
    program: Program,
    target: Target,
    feeds: Sequence[Feed],
    slicer: Slicer | None = None,
) -> SourceCheck | None:
    """The source as the reference of float; None where there is nothing to run it on.

    `slicer` is that of the program, where its outputs are judged anyway.
    """
    if not feeds:
        return None
    slicer = slicer or Slicer(program)
    chosen = (feeds[0], feeds[-1]) if len(feeds) > 1 else (feeds[0],)
    try:
        source = reference_of(model, program)
        # A file's sizes are those of its own graph; what a capture made symbolic may be wrong.
        resized = None
        if program.signature.flatten is not None:
            resized = with_other_batch(program.signature, chosen[0])
        return SourceCheck(source, program, target, chosen, slicer, resized=resized)
    except LoweringError as error:
        told = f"the float program was not compared with its source: {error.why or error.what}"
        found = [Diagnostic(Severity.INFO, "SOURCE01", told)]
        return SourceCheck(None, program, target, chosen, slicer, found)


def runner_of(target: Target, program: Program, artifact: Artifact) -> Run:
    """Runs a float program on the target, or on ONNX Runtime where the target does not run."""
    if target.evidence.judged:
        return artifact.lowered.run
    return OrtSession(program.model).run_checked
