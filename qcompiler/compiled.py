"""`Compiled`: the result of a compilation. Runs, saves, explains and checks itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, NoReturn, SupportsIndex

from qcompiler.calibration.first_feeds import given_feeds, normalized
from qcompiler.debug.bisection import Bisection, Searched, bisected
from qcompiler.debug.debugged import debugged
from qcompiler.debug.report import DebugReport
from qcompiler.errors import ConfigurationError
from qcompiler.execution.feeds import call_leaves, checked_feed, normalize_feed
from qcompiler.execution.verification import Verification
from qcompiler.execution.verifying import verify_artifact
from qcompiler.files.conflicts import refuse_inputs
from qcompiler.files.reading import as_path
from qcompiler.files.writing import check_destination
from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed, is_tensor
from qcompiler.outcome.checked import checked_once
from qcompiler.outcome.report_of import report_of, report_of_point
from qcompiler.pipeline.contract import Progress, step
from qcompiler.pipeline.pipeline import PipelineReport
from qcompiler.printable import one_line
from qcompiler.report.report import Report
from qcompiler.report.reporter import reporter_of
from qcompiler.report.rows import FrontierRow
from qcompiler.search.goal import Samples, Selection, require_not_negative
from qcompiler.target.artifact import Artifact, KernelCount
from qcompiler.target.contract import Target

_DEBUGGED = 8
"""Samples that `debug` takes of those kept from calibration."""


@dataclass(frozen=True, eq=False)
class Compiled:
    """A program compiled for one runtime.

    Attributes:
        program: The program that was lowered, Q/DQ explicit.
        target: Where it runs.
        plan: Precision of every region and why.
        report: What was decided, gained and warned of.
        artifact: What the engine runs.
        log: What the search tried, one line per step.
    """

    program: Program
    target: Target
    plan: Plan
    report: Report
    artifact: Artifact
    _feeds: tuple[Feed, ...] = ()
    _source: Program | None = None
    _selection: Selection | None = None
    log: tuple[str, ...] = ()

    @classmethod
    def assemble(
        cls,
        source: Program,
        target: Target,
        selection: Selection,
        reports: Sequence[PipelineReport],
        seconds: float,
        samples: Samples,
        verify: bool = True,
    ) -> Compiled:
        """Joins a selection with its report.

        Args:
            source: What was compiled.
            target: Compiled for this.
            selection: What the search chose.
            reports: Of the pipelines that ran.
            seconds: Wall time so far.
            samples: Feeds of calibration, kept for `verify`.
            verify: Compare one sample with the integer reference now, in about a twentieth of
                `seconds`.
        """
        placed = [selection.candidate.report] if selection.candidate else []
        feeds = samples.feeds
        checked = checked_once(target, selection, feeds, 0.05 * seconds if verify else 0.0)
        ran = [*reports, *placed]
        report = report_of(source, target, selection, ran, checked, seconds, samples)
        made = (selection.program, target, selection.plan, report, selection.artifact)
        return cls(*made, feeds, source, selection, selection.log)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs with the source's own signature, or with one feed in any form of calibration's.

        A call may be spelled otherwise than calibration's feeds (by name, with defaults given or
        left out), but has to mean the same: what is no tensor is part of the compiled program.

        Returns:
            What the source returns: nested as the torch module returns it, a list of arrays in
            graph order for an ONNX model. Tensors come back for tensors, numpy arrays otherwise.

        Raises:
            FeedError: Names, shapes or dtypes do not fit, an argument was not part of the captured
                call, or a number, flag or default differs from the captured one.
        """
        signature = self.program.signature
        leaves = call_leaves(signature, args, kwargs)
        outputs = self.artifact.run(checked_feed(signature, leaves))
        return signature.returned(outputs, any(map(is_tensor, leaves.values())))

    def run(self, feed: Any) -> list[Any]:
        """Output arrays in signature order for one feed (dict, tuple or array)."""
        return self.artifact.run(normalize_feed(self.program.signature, feed))

    def save(self, path: Path | str) -> Path:
        """Writes the runtime's own format, atomically, and returns the path.

        Links are followed, and the permission bits of an existing file are kept.

        Raises:
            ArtifactError: The folder is missing or cannot be written to, or what is there is no
                regular file.
            ConfigurationError: The model or its calibration data was read from this file.
        """
        destination = as_path(path, "the file to save to")
        source = self._source or self.program
        refuse_inputs("save", destination, {"what was compiled": source.provenance.files})
        check_destination(destination)
        self.artifact.save(destination)
        return destination

    def __copy__(self) -> Compiled:
        return replace(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuses to be pickled or copied deeply."""
        raise ConfigurationError(
            "a Compiled cannot be pickled or copied",
            why="it holds a running engine",
            fix="save it, and open the file where it is needed: qc.load_compiled(path)",
        )

    def __repr__(self) -> str:
        return one_line(
            f"<Compiled {self.report.source} for {self.target.name}: {self.report.summary}>"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the outcome and the figures; `report.html()` has everything."""
        return self.report._repr_html_()

    @property
    def module(self) -> Any:
        """The `torch.fx.GraphModule` that a torch engine runs; read it with `module.code`.

        Raises:
            ConfigurationError: The engine is not torch.
        """
        if self.artifact.module is None:
            raise ConfigurationError(
                f"there is no torch module for the target {self.target.name}",
                why="it runs its own format, which `save` writes",
                fix="compile for fbgemm, onednn, x86 or qnnpack",
            )
        return self.artifact.module

    @property
    def kernels(self) -> KernelCount:
        """What the engine really runs, counted in its own optimized graph."""
        return self.artifact.kernels()

    def verify(
        self,
        feeds: Iterable[Any] | None = None,
        *,
        rows: int | None = None,
        progress: bool | Progress = False,
    ) -> Verification:
        """Compares the artifact with the integer reference, region by region.

        The engine's own integers go into each region, so what differs is that region alone.

        Args:
            feeds: Samples; those kept from calibration by default.
            rows: Compare at most this many rows (axis 0) of a sample; all by default.
            progress: As that of `compile`.

        Raises:
            FeedError: A feed does not fit.
        """
        samples = self._feeds if feeds is None else self._checked(feeds)
        made = (self.program, self.target, self.artifact, samples, self.kernels, rows)
        reporter = reporter_of(progress)
        with step(reporter, "verify", len(samples)):
            return verify_artifact(*made, told=reporter.advance)

    def _checked(self, feeds: Iterable[Any]) -> tuple[Feed, ...]:
        """A user's feeds as arrays by name; errors say which one it is."""
        return tuple(normalized(self.program.signature, given_feeds(feeds)))

    def debug(
        self, feeds: Iterable[Any] | None = None, *, progress: bool | Progress = False
    ) -> DebugReport:
        """Where the result loses what it loses: by region, by value, by accuracy pass.

        Every region is measured alone and with all before it, in one float model with a switch in
        front of every quantization; ranges are shown over what calibration saw.

        Args:
            feeds: Samples; up to eight of those kept from calibration by default.
            progress: As that of `compile`.

        Raises:
            ConfigurationError: There are no samples, or this was loaded from a file.
            FeedError: A feed does not fit.
        """
        samples, selection = self._debuggable(feeds)
        given = (samples, self._source or self.program, reporter_of(progress))
        return debugged(selection, self.program, self.plan, self.artifact.run, *given)

    def bisect(
        self,
        bound_db: float,
        feeds: Iterable[Any] | None = None,
        *,
        progress: bool | Progress = False,
    ) -> Bisection:
        """The first region and the first pass with which less than a bound is left.

        Regions are halved on the engine: about log2(regions) builds.

        Args:
            bound_db: Signal-to-noise ratio to keep, in dB.
            feeds: Samples; up to eight of those kept from calibration by default.
            progress: As that of `compile`.

        Raises:
            ConfigurationError: There are no samples, or this was loaded from a file.
            FeedError: A feed does not fit.
        """
        require_not_negative("bound_db", bound_db)
        samples, selection = self._debuggable(feeds)
        searched = Searched(
            self._source or self.program,
            selection.base,
            self.target,
            selection.options,
            self.plan,
            self.artifact.run,
        )
        return bisected(searched, samples, 10 ** (-bound_db / 10), reporter_of(progress))

    def _debuggable(self, feeds: Iterable[Any] | None) -> tuple[tuple[Feed, ...], Selection]:
        """Samples to debug on, and what the search left.

        Raises:
            ConfigurationError: There are none, or this was loaded from a file.
            FeedError: A feed does not fit.
        """
        if self._selection is None:
            raise ConfigurationError(
                "an artifact from a file cannot be debugged by itself",
                why="it holds neither the float model nor what calibration saw",
                fix="compile the model again, or run `qcompiler debug MODEL ARTIFACT`",
            )
        samples = self._checked(self._feeds[:_DEBUGGED] if feeds is None else feeds)
        if not samples:
            raise ConfigurationError(
                "there is nothing to debug on", fix="pass feeds, or calibration to `compile`"
            )
        return samples, self._selection

    @property
    def frontier(self) -> tuple[FrontierRow, ...]:
        """Measured configurations that no other one beats in time, loss and size, fastest first."""
        kept = [each for each in self.report.frontier if each.best]
        return tuple(sorted(kept, key=lambda each: (each.seconds is None, each.seconds or 0.0)))

    def at(self, index: int) -> Compiled:
        """The configuration of another frontier point, ready to run and save.

        Raises:
            ConfigurationError: No point of that index.
        """
        candidates = self._selection.frontier if self._selection else ()
        whole = isinstance(index, Integral)
        if self._selection is None or not (whole and 0 <= index < len(candidates)):
            raise ConfigurationError(
                f"the frontier has no point {index!r}", fix="use an index of `compiled.frontier`"
            )
        chosen = candidates[index]
        report = report_of_point(self.report, index, self._selection)
        return replace(
            self, program=chosen.program, plan=chosen.plan, report=report, artifact=chosen.artifact
        )
