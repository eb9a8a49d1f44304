"""Whether a user's passes keep what the model computes, asked before anything is searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qcompiler.errors import LoweringError, PassFailedError, PipelineError, SourceError
from qcompiler.execution.session import OrtSession
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.source_check import SourceCheck
from qcompiler.measurement.source_reference import source_check_of
from qcompiler.pipeline.bisection import bisect
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.target.contract import Target


def check_passes(
    pipeline: Pipeline,
    model: object,
    source: Program,
    rewritten: Program,
    target: Target,
    feeds: Sequence[Feed],
    context: Callable[[], PassContext],
) -> None:
    """Compares a rewritten float program with the model it came from, on the first feed.

    Both run on ONNX Runtime. What that does not run is compared later, on the target.

    Args:
        pipeline: The user's passes.
        model: What the user gave.
        source: What the front end made of it.
        rewritten: What the passes made of that.
        target: Compiled for; says how far float may differ.
        feeds: Samples; nothing is compared without.
        context: Makes the context for another run of the passes.

    Raises:
        PassFailedError: They differ by more than rounding; names the first pass to blame.
        SourceError: They differ before any pass.
    """
    reference = source_check_of(model, source, target, feeds[:1])
    if reference is None:
        return
    try:
        _compare(reference, rewritten)
    except LoweringError:
        return  # the search lowers it for the target, and tells what does not run there
    except SourceError as error:
        raise _blamed(pipeline, source, reference, context, error) from error


def _compare(reference: SourceCheck, program: Program) -> None:
    reference.check(program, OrtSession(program.model).run_checked)


def _blamed(
    pipeline: Pipeline,
    source: Program,
    reference: SourceCheck,
    context: Callable[[], PassContext],
    error: SourceError,
) -> SourceError | PassFailedError:
    def is_kept(program: Program) -> bool:
        try:
            _compare(reference, program)
        except SourceError:
            return False
        return True

    try:
        culprit = bisect(pipeline, source, is_kept, context)
    except PipelineError:  # no pass is to blame: the import is wrong
        return error
    if culprit is None:
        return error
    failure = PassFailedError(
        f"pass '{culprit.name}' changes what the model computes",
        where=error.where,
        why=error.why,
        fix="rewrite only what is equal; qcompiler.testing.assert_same_function tells on a program",
    )
    failure.in_pass(culprit.name, culprit.number)
    return failure
