"""`bisect`: which pass makes a program bad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qcompiler.errors import PipelineError
from qcompiler.ir.program import Program
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.instruments import Bisect, Instrument
from qcompiler.pipeline.pipeline import PassRun, Pipeline


@dataclass(frozen=True)
class Culprit:
    """The first pass execution after which a predicate is false."""

    number: int
    name: str


def bisect(
    pipeline: Pipeline,
    program: Program,
    predicate: Callable[[Program], bool],
    context: Callable[[], PassContext] = PassContext,
) -> Culprit | None:
    """Finds the first pass that makes a predicate false, by halving; the program stays as it is.

    Args:
        pipeline: What to search in.
        program: Where each trial starts from.
        predicate: True for good programs. Once false it has to stay false under later passes.
        context: Makes a fresh context for each trial, since feeds are consumed.

    Returns:
        The culprit; None if the predicate holds after the whole pipeline.

    Raises:
        PipelineError: The predicate is false before the first pass.
    """
    if not predicate(program.clone()):
        raise PipelineError(
            "the predicate is false before the first pass, so no pass is to blame",
            fix="give a predicate that holds for the program as it is",
        )
    runs, holds = _trial(pipeline, program, predicate, context, None)
    if holds:
        return None
    good, bad = 0, len(runs)
    while bad - good > 1:
        middle = (good + bad) // 2
        _, holds = _trial(pipeline, program, predicate, context, middle)
        good, bad = (middle, bad) if holds else (good, middle)
    return Culprit(bad, runs[bad - 1].report.name)


def _trial(
    pipeline: Pipeline,
    program: Program,
    predicate: Callable[[Program], bool],
    context: Callable[[], PassContext],
    last: int | None,
) -> tuple[tuple[PassRun, ...], bool]:
    extra: tuple[Instrument, ...] = () if last is None else (Bisect(last),)
    trial = Pipeline(pipeline.passes, pipeline.instruments + extra, pipeline.verify_each)
    working = program.clone()
    report = trial.run(working, context())
    return report.runs, predicate(working)
