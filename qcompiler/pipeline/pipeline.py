"""`Pipeline`: passes in order, checked before anything runs, with instruments attached."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from typing import Any

from qcompiler.errors import InvalidProgramError, PassFailedError, PipelineError, QCompilerError
from qcompiler.ir.collector import rare_collections
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.edits import EditCounts
from qcompiler.ir.program import Program, Property
from qcompiler.pipeline import registry, text
from qcompiler.pipeline.adapters import as_pass
from qcompiler.pipeline.combinators import Combinator, FixedPoint
from qcompiler.pipeline.contract import Pass, PassContext, PassReport
from qcompiler.pipeline.instruments import Instrument, VerifyEach

VERIFY_VARIABLE = "QCOMPILER_VERIFY_EACH"
"""Environment variable; `1` verifies the program after every pass."""

Properties = frozenset[Property]


def _verify_by_default() -> bool:
    return os.environ.get(VERIFY_VARIABLE, "") == "1"


@dataclass(frozen=True)
class PassRun:
    """One execution of one pass: its number from 1, report, wall seconds, and if it was skipped."""

    number: int
    report: PassReport
    seconds: float
    skipped: bool = False


@dataclass(frozen=True)
class PipelineReport:
    """What a run of a pipeline did.

    Attributes:
        reports: Report of every pass of the pipeline, combinators with children.
        runs: Every execution in order, inner passes of combinators included.
    """

    reports: tuple[PassReport, ...] = ()
    runs: tuple[PassRun, ...] = ()

    @property
    def modified(self) -> bool:
        return any(report.modified for report in self.reports)

    @property
    def seconds(self) -> float:
        """Wall time of all passes."""
        return sum(run.seconds for run in self.runs)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What all passes had to say, in order."""
        return tuple(found for run in self.runs for found in run.report.diagnostics)

    def then(self, later: PipelineReport) -> PipelineReport:
        """This run and a later one as one; executions are numbered on."""
        count = len(self.runs)
        runs = (replace(run, number=count + run.number) for run in later.runs)
        return PipelineReport((*self.reports, *later.reports), (*self.runs, *runs))

    def details(self, name: str) -> dict[str, Any]:
        """Details of the last execution of a pass; empty if it did not run."""
        found = [run.report.details for run in self.runs if run.report.name == name]
        return dict(found[-1]) if found else {}


@dataclass(frozen=True)
class Pipeline:
    """Passes in order.

    Attributes:
        passes: What `as_pass` takes: our passes, `onnx_ir` passes, `onnxscript` rewrite rules.
        instruments: Told about every pass; not part of equality or of the text.
        verify_each: Verify after every pass; `QCOMPILER_VERIFY_EACH=1` turns it on by default.
    """

    passes: tuple[Pass, ...] = ()
    instruments: tuple[Instrument, ...] = field(default=(), compare=False)
    verify_each: bool = field(default_factory=_verify_by_default, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "passes", tuple(as_pass(each) for each in self.passes))
        object.__setattr__(self, "instruments", tuple(self.instruments))

    @classmethod
    def of(cls, *passes: Any, instruments: Iterable[Instrument] = ()) -> Pipeline:
        """A pipeline of passes, of anything `as_pass` takes, and of pipelines.

        Of those, passes and instruments are taken, in order.
        """
        inner = [each for each in passes if isinstance(each, Pipeline)]
        flat = (each.passes if isinstance(each, Pipeline) else (as_pass(each),) for each in passes)
        told = (*instruments, *chain.from_iterable(each.instruments for each in inner))
        return cls(tuple(chain.from_iterable(flat)), told)

    @classmethod
    def parse(cls, written: str, instruments: Iterable[Instrument] = ()) -> Pipeline:
        """A pipeline from text such as `fuse-conv-bn,fixed-point{limit=3}(canonicalize,dead-code)`.

        Raises:
            PipelineError: The text breaks the grammar, or an option is wrong.
            RegistryError: An unknown pass.
        """
        built = (text.build(each, registry.find_pass) for each in text.parse(written))
        return cls(tuple(built), tuple(instruments))

    def __str__(self) -> str:
        return text.show(self.passes)

    def check_order(self, properties: Properties = frozenset()) -> Properties:
        """Checks what every pass requires, from these properties on; gives those of the end.

        Raises:
            PipelineError: A pass requires what does not hold; says what would establish it.
        """
        order = list(_unrolled(self.passes))
        for position, each in enumerate(order):
            missing = sorted(each.requires - properties, key=lambda prop: prop.value)
            if missing:
                raise _missing(each, position + 1, missing[0], order)
            properties = (properties - each.destroys) | each.establishes
        return properties

    def run(self, program: Program, context: PassContext | None = None) -> PipelineReport:
        """Runs all passes on the program in place; all or nothing.

        The passes work on a clone (cheap, tensors are shared), which takes the program's place at
        the end. So after an error the program is as it was; after success `program.model` is a
        new object, and nodes looked up before are no longer part of it.

        Raises:
            PipelineError: The order cannot work; nothing has run.
            InvalidProgramError: A post-condition or the verifier found the result broken.
            PassFailedError: A pass raised something that is no `QCompilerError`.
            QCompilerError: What a pass raised, with `pass_name` and `pass_number`.
        """
        self.check_order(program.properties)
        instruments = self.instruments + ((VerifyEach(),) if self.verify_each else ())
        context = context if context is not None else PassContext()
        with rare_collections():
            working = program.clone()
            report = _Execution(instruments, context).run(self.passes, working)
        for each in fields(Program):
            setattr(program, each.name, getattr(working, each.name))
        return report


@dataclass
class _Execution:
    """One run of a pipeline: counts executions, calls instruments, keeps properties."""

    instruments: tuple[Instrument, ...]
    context: PassContext
    runs: list[PassRun] = field(default_factory=list)
    count: int = 0

    def run(self, passes: tuple[Pass, ...], program: Program) -> PipelineReport:
        outer = self.context.runner
        self.context.runner = self.step
        try:
            reports = tuple(self.step(each, program) for each in passes)
        finally:
            self.context.runner = outer
        return PipelineReport(reports, tuple(self.runs))

    def step(self, each: Pass, program: Program) -> PassReport:
        if isinstance(each, Combinator):
            return each.run(program, self.context)
        self.count += 1
        number = self.count
        if not all(instrument.allows(each, number) for instrument in self.instruments):
            return self._skip(each, number)
        try:
            return self._leaf(each, program, number)
        except QCompilerError as error:
            error.in_pass(each.name, number)
            raise
        except Exception as error:
            wrapped = PassFailedError(
                f"pass '{each.name}' failed with {type(error).__name__}",
                why=str(error) or None,
                fix="report this with the model; the program was left as it was",
            )
            wrapped.in_pass(each.name, number)
            raise wrapped from error

    def _leaf(self, each: Pass, program: Program, number: int) -> PassReport:
        for instrument in self.instruments:
            instrument.before(each, program, number)
        begun = time.perf_counter()
        report = each.run(program, self.context)
        seconds = time.perf_counter() - begun
        program.properties = (program.properties - each.destroys) | each.establishes
        report = _checked(each, program, report)
        for instrument in reversed(self.instruments):
            instrument.after(each, program, number, report)
        self.runs.append(PassRun(number, report, seconds))
        return report

    def _skip(self, each: Pass, number: int) -> PassReport:
        report = PassReport(each.name, EditCounts(), details={"skipped": True})
        self.runs.append(PassRun(number, report, 0.0, skipped=True))
        return report


def _checked(each: Pass, program: Program, report: PassReport) -> PassReport:
    """The report with what the pass's post-conditions found.

    Raises:
        InvalidProgramError: A post-condition does not hold.
    """
    found = each.check(program)
    broken = [diagnostic for diagnostic in found if diagnostic.severity is Severity.ERROR]
    if broken:
        raise InvalidProgramError(f"pass '{each.name}' broke its own post-condition", broken)
    diagnostics = report.diagnostics + tuple(found)
    return PassReport(report.name, report.edits, diagnostics, report.details, report.children)


def _unrolled(passes: Iterable[Pass]) -> Iterator[Pass]:
    """Passes in the order in which properties matter: fixed points go round twice."""
    for each in passes:
        if isinstance(each, Combinator):
            for _ in range(2 if isinstance(each, FixedPoint) else 1):
                yield from _unrolled(each.passes)
        else:
            yield each


def _missing(each: Pass, number: int, wanted: Property, order: list[Pass]) -> PipelineError:
    later = [other.name for other in order[number:] if wanted in other.establishes]
    if later:
        fix = f"move '{later[0]}', which establishes it, in front of '{each.name}'"
    else:
        names = " or ".join(f"'{name}'" for name in registry.establishers(wanted))
        fix = f"put {names or 'a pass that establishes it'} in front of '{each.name}'"
    return PipelineError(
        f"pass '{each.name}' requires {wanted.name}, which does not hold there",
        where=f"number {number} of {','.join(other.name for other in order)}",
        fix=fix,
    )
