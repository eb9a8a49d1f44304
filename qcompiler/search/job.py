"""One compilation for one engine: the source checked, its float timed against, a plan selected."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cached_property

from qcompiler.config import Recipe
from qcompiler.decisions.schemes import SCHEMES
from qcompiler.ir.diagnostics import Diagnostic
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.baseline import Baseline, baseline_of, told_of_float_form
from qcompiler.measurement.parts import Slicer
from qcompiler.measurement.source_check import SourceCheck
from qcompiler.measurement.source_reference import runner_of, source_check_of
from qcompiler.pipeline.contract import Progress, Silent
from qcompiler.search.goal import Goal, Samples, Selection
from qcompiler.search.select import select
from qcompiler.target.artifact import Artifact
from qcompiler.target.contract import Target


@dataclass(frozen=True, eq=False)
class Job:
    """What is compiled, whatever for.

    Attributes:
        model: What the user gave.
        source: As the front end made it.
        program: After the float passes, calibrated.
        plain: After the float passes, if the source was quantized; the program otherwise.
        samples: Feeds kept from calibration.
        examples: What the float program is compared with its source on.
        goal: What the user wants.
        effort: How much of it.
        progress: Told of every step.
        executor: Workers.
    """

    model: object
    source: Program
    program: Program
    plain: Program
    samples: Samples
    examples: Sequence[Feed]
    goal: Goal
    effort: Recipe
    progress: Progress = field(default_factory=Silent)
    executor: Executor | None = None

    @cached_property
    def slicer(self) -> Slicer:
        """Says how outputs are judged, on whatever target."""
        return Slicer(self.source)


def baseline(job: Job, target: Target) -> Baseline:
    """The source in float on a target.

    Raises:
        LoweringError: The engine refuses it, or fails.
    """
    return baseline_of(target, job.source, job.model, job.samples.feeds, job.plain)


def selected(job: Job, target: Target, yardstick: Baseline | None = None) -> Selection:
    """What is to run on one target, checked and timed.

    Args:
        job: What is compiled.
        target: For which.
        yardstick: Float on another engine, which losses and times refer to; the target's own
            float if there is none.

    Raises:
        QCompilerError: See `select`; or its float program computes something else than the source.
    """
    goal = job.goal
    free = goal.scheme.is_auto and goal.plan is None
    nothing = free and not target.regions(job.program)
    if nothing:
        goal = replace(goal, scheme=SCHEMES["float32"])
    plain, examples = target.yardstick, job.examples
    reference = source_check_of(job.model, job.source, plain, examples, job.slicer)
    own = baseline(job, target)
    _check(reference, plain, own.program, own.artifact)
    selection = select(
        job.source,
        job.program,
        target,
        job.samples,
        goal,
        job.effort,
        job.progress,
        job.executor,
        (yardstick or own).artifact,
        job.slicer,
    )
    if nothing:
        why = f"float: the model has no op that {target.name} quantizes"
        selection = replace(selection, summary=why)
    found = own.diagnostics + _compared(job.program, selection, reference, target)
    return replace(selection, diagnostics=(*selection.diagnostics, *found))


def _compared(
    program: Program, selection: Selection, reference: SourceCheck | None, target: Target
) -> tuple[Diagnostic, ...]:
    """Checks a rewritten float program, and says what came of all checks.

    Raises:
        SourceError: It computes something else than its source.
    """
    found: tuple[Diagnostic, ...] = ()
    if selection.candidate is not None and selection.candidate.is_exact:
        if program.absorbed is not None and program.absorbed.is_of_source:
            found = told_of_float_form(program, selection.loss)
        else:
            _check(reference, target, selection.program, selection.artifact)
    return found + (() if reference is None else tuple(reference.diagnostics))


def _check(
    reference: SourceCheck | None, target: Target, program: Program, artifact: Artifact
) -> None:
    """Compares what a float artifact computes with the source, if that can be run."""
    if reference is not None:
        reference.check(program, runner_of(target, program, artifact))
