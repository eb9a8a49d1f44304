"""What a pass is: options as fields, declared properties, `run`, and a measured report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from qcompiler.errors import ConfigurationError, PassFailedError
from qcompiler.ir.diagnostics import Diagnostic
from qcompiler.ir.edits import EditCounts
from qcompiler.ir.program import Program, Property
from qcompiler.ir.requests import Request
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.signature import Feed

if TYPE_CHECKING:
    from qcompiler.target.contract import Target


class Stage(Enum):
    """When an accuracy pass changes a candidate."""

    PLAN = "plan"
    """Changes `program.plan`, what a fixed scheme gave the regions; a search chooses by itself."""
    FLOAT = "float program"
    """Rewrites the float program, whose ranges are then calibrated anew on the kept samples."""
    RANGES = "ranges"
    """Changes what was observed of values: `program.observations`."""
    PLACED = "placement"
    """Changes what was decided, `program.placement`, before any of it is written."""
    LAST = "last"
    """Changes `program.plan` behind all others, where what they left is of no use."""


class Progress(Protocol):
    """Receives how far a long step is; see `qcompiler.report.progress` for the terminal one."""

    def start(self, task: str, total: int | None) -> None: ...

    def advance(self, amount: int = 1, note: str = "") -> None: ...

    def finish(self) -> None: ...


class Silent:
    """Progress that goes nowhere."""

    def start(self, task: str, total: int | None) -> None:
        return None

    def advance(self, amount: int = 1, note: str = "") -> None:
        return None

    def finish(self) -> None:
        return None


@contextmanager
def step(progress: Progress, task: str, total: int | None = None) -> Iterator[None]:
    """A long step: started, and finished whatever happens in it."""
    progress.start(task, total)
    try:
        yield
    finally:
        progress.finish()


@dataclass
class PassContext:
    """What a run of a pipeline offers its passes.

    Attributes:
        target: The target compiled for, if any.
        feeds: Calibration data, consumed once.
        progress: Where long passes report to.
        executor: Workers for shards; None means this thread.
        samples: Feeds that an accuracy pass may fit to; it is judged on others.
        options: Arguments of `compile` that concern single passes, by name.
        runner: Runs a pass inside a pipeline (instruments, checks); set by `Pipeline.run`.
    """

    target: Target | None = None
    feeds: Iterable[Feed] | None = None
    progress: Progress = field(default_factory=Silent)
    executor: Executor | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    samples: Sequence[Feed] = ()
    runner: Callable[[Pass, Program], PassReport] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raises ConfigurationError where the executor is none."""
        is_class = isinstance(self.executor, type)
        if self.executor is None:
            return
        if is_class or not callable(getattr(self.executor, "submit", None)):
            raise ConfigurationError(
                f"executor is {self.executor!r}",
                why="it is a class" if is_class else "it has no method submit",
                fix="give a concurrent.futures.Executor such as ThreadPoolExecutor(2)",
            )

    def run_pass(self, each: Pass, program: Program) -> PassReport:
        """Runs an inner pass, under the pipeline's instruments if there is a pipeline."""
        return self.runner(each, program) if self.runner else each.run(program, self)


@dataclass(frozen=True)
class PassReport:
    """What one run of a pass did.

    `modified` is counted by the rewriter, never claimed by the pass.
    """

    name: str
    edits: EditCounts
    diagnostics: tuple[Diagnostic, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    children: tuple[PassReport, ...] = ()

    @property
    def modified(self) -> bool:
        return self.edits.total > 0 or any(child.modified for child in self.children)


@dataclass(frozen=True)
class Pass(ABC):
    """A rewrite or an analysis over a `Program`; options are dataclass fields.

    Class attributes:
        name: Name in pipeline texts, such as `fuse-conv-bn`.
        requires: Properties that must hold before.
        establishes: Properties that hold after.
        destroys: Properties that may no longer hold after.
        stage: When an accuracy pass works; None for every other pass. An accuracy pass is tried as
            a variant of a candidate and kept only if the loss is lower.
        gains: `loss`, or `latency`: a pass of the float stage that is kept only if what runs is
            faster on the target, and loses no more.
        recipes: Recipes that try this accuracy pass without being asked; for passes of other
            distributions, ours are listed in `qcompiler.config.RECIPES`.
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[Property]] = frozenset()
    establishes: ClassVar[frozenset[Property]] = frozenset()
    destroys: ClassVar[frozenset[Property]] = frozenset()
    stage: ClassVar[Stage | None] = None
    gains: ClassVar[str] = "loss"
    recipes: ClassVar[frozenset[str]] = frozenset()

    def requests(self, program: Program, target: Target | None) -> Sequence[Request]:
        """Statistics that an accuracy pass reads: taken in the one run that calibrates."""
        return ()

    def price(self, samples: int) -> str:
        """What an accuracy pass costs with this many samples, in words, before it runs."""
        return f"{samples} samples"

    def runs(self, samples: int, program: Program | None) -> float:
        """The same in time: as long as so many float runs of one sample take.

        `program` is the calibrated one, where it is known. What needs no run counts as the runs
        that take as long.

        Besides it, a candidate with the pass is built and judged. A variant that would take longer
        than what is left of the budget is not begun.
        """
        return float(samples)

    def run(self, program: Program, context: PassContext) -> PassReport:
        """Rewrites the program in place and reports what was done.

        Raises:
            PassFailedError: `apply` returned something else than an Outcome.
        """
        rewriter = Rewriter(program)
        outcome: object = self.apply(program, rewriter, context)
        if not isinstance(outcome, Outcome):
            raise PassFailedError(
                f"`apply` of pass '{self.name}' returned {type(outcome).__name__}",
                where=f"{type(self).__module__}.{type(self).__qualname__}",
                fix="end it with `return Outcome()`",
            )
        return PassReport(self.name, rewriter.counts, outcome.diagnostics, outcome.details)

    @abstractmethod
    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        """The pass itself: every edit goes through `rewriter`."""

    def check(self, program: Program) -> tuple[Diagnostic, ...]:
        """Post-conditions, evaluated on the result; an ERROR stops the pipeline."""
        return ()


@dataclass(frozen=True)
class Outcome:
    """What `Pass.apply` found out: diagnostics, and details by name for the report."""

    diagnostics: tuple[Diagnostic, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
