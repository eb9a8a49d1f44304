"""`Compiled`: the result of a compilation. Runs, saves, explains and checks itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qcompiler.decisions.forms import unmet_overrides
from qcompiler.errors import ArtifactError, ConfigurationError
from qcompiler.execution.feeds import call_leaves, checked_feed, normalize_feed
from qcompiler.execution.stamp import target_in
from qcompiler.execution.verification import Verification, is_unplanned, verify_artifact
from qcompiler.files.conflicts import refuse_inputs
from qcompiler.files.reading import Door
from qcompiler.files.writing import check_destination
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.plan import FLOAT, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.signature import Feed, is_tensor
from qcompiler.measurement.candidates import Candidate
from qcompiler.pipeline import registry
from qcompiler.pipeline.pipeline import PipelineReport
from qcompiler.report.report import Figure, Report, pass_rows, region_rows, worst_first
from qcompiler.search.base import told
from qcompiler.search.explain import ops_outside
from qcompiler.search.goal import Selection
from qcompiler.target.contract import Artifact, KernelCount, Target
from qcompiler.target.placement import lowered_regions


@dataclass(frozen=True)
class FrontierPoint:
    """One measured configuration.

    Attributes:
        index: What `Compiled.at` takes.
        seconds: Time of one run, None if not measured.
        loss: Noise-to-signal ratio of the outputs, None if not measured.
        nbytes: Size as saved.
        quantized: Regions that are not float.
    """

    index: int
    seconds: float | None
    loss: float | None
    nbytes: int
    quantized: int


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
    _candidates: tuple[Candidate, ...] = ()
    _feeds: tuple[Feed, ...] = ()
    _source: Program | None = None
    _regions: tuple[Region, ...] = ()
    log: tuple[str, ...] = ()

    @classmethod
    def assemble(
        cls,
        source: Program,
        target: Target,
        selection: Selection,
        reports: Sequence[PipelineReport],
        seconds: float,
        feeds: tuple[Feed, ...] = (),
        verify: bool = True,
    ) -> Compiled:
        """Joins a selection with its report.

        Args:
            source: What was compiled.
            target: Compiled for this.
            selection: What the search chose.
            reports: Of the pipelines that ran.
            seconds: Wall time so far.
            feeds: Samples to keep for `verify`.
            verify: Compare one sample with the integer reference now, in about a twentieth of
                `seconds`.
        """
        placed = [selection.candidate.report] if selection.candidate else []
        checked = _verified(target, selection, feeds, 0.05 * seconds if verify else 0.0)
        report = _report(source, target, selection, [*reports, *placed], checked, seconds)
        return cls(
            selection.program,
            target,
            selection.plan,
            report,
            selection.artifact,
            selection.frontier,
            feeds,
            source,
            tuple(each.region for each in selection.options),
            selection.log,
        )

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
        destination = Path(path)
        source = self._source or self.program
        refuse_inputs("save", destination, {"what was compiled": source.provenance.files})
        check_destination(destination)
        self.artifact.save(destination)
        return destination

    def __repr__(self) -> str:
        return f"<Compiled {self.report.source} for {self.target.name}: {self.report.summary}>"

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
        self, feeds: Iterable[Any] | None = None, *, rows: int | None = None
    ) -> Verification:
        """Compares the artifact with the integer reference, region by region.

        The engine's own integers go into each region, so what differs is that region alone.

        Args:
            feeds: Samples; those kept from calibration by default.
            rows: Compare at most this many rows (axis 0) of a sample; all by default.

        Raises:
            FeedError: A feed does not fit.
        """
        signature = self.program.signature
        samples = (
            self._feeds
            if feeds is None
            else tuple(normalize_feed(signature, feed) for feed in feeds)
        )
        return verify_artifact(
            self.program, self.target, self.artifact, samples, self.kernels, rows
        )

    @property
    def frontier(self) -> tuple[FrontierPoint, ...]:
        """Measured configurations that no other one beats in time, loss and size, fastest first."""
        points = [
            FrontierPoint(i, each.seconds, each.loss, each.artifact.nbytes, each.quantized)
            for i, each in enumerate(self._candidates)
        ]
        kept = [p for p in points if not any(_dominates(other, p) for other in points)]
        return tuple(sorted(kept, key=lambda p: (p.seconds is None, p.seconds or 0.0)))

    def at(self, index: int) -> Compiled:
        """The configuration of another frontier point, ready to run and save.

        Raises:
            ConfigurationError: No point of that index.
        """
        if not 0 <= index < len(self._candidates):
            raise ConfigurationError(
                f"the frontier has no point {index}", fix="use the index of a FrontierPoint"
            )
        chosen = self._candidates[index]
        summary = f"frontier point {index}: {chosen.quantized} regions quantized"
        rows = region_rows(
            self._regions,
            chosen.plan,
            chosen.sample.regions if chosen.sample else None,
            self._float_seconds(),
        )
        report = replace(self.report, summary=summary, regions=rows, figures=())
        return replace(
            self, program=chosen.program, plan=chosen.plan, report=report, artifact=chosen.artifact
        )

    def _float_seconds(self) -> Mapping[str, float] | None:
        """Seconds by region of the first candidate, which is float rewritten."""
        first = self._candidates[0]
        return first.sample.regions if first.sample and not first.quantized else None


def load_compiled(path: Path | str, target: str | None = None) -> Compiled:
    """Opens a saved artifact, ready to run; results equal those of the process that saved it.

    Artifacts keep the plan and the calling convention of a torch source; other ONNX files are
    called with arrays or a dict by input name.

    Args:
        path: What `Compiled.save` wrote.
        target: Name of the target it was saved for; by default the file tells.

    Raises:
        ArtifactError: Not readable, damaged, or of a target that only writes files.
        ConfigurationError: No target of that name.
    """
    file = Path(path)
    _ARTIFACT.require_file(file)
    with _ARTIFACT.reading(file), file.open("rb") as opened:
        head = opened.read(16)
    if target is None:
        with _ARTIFACT.reading(file):
            target = target_in(file, head)
    names = registry.targets() if target is None else [target]
    kinds = [registry.find_target(name) for name in names]
    reader = next((kind for kind in kinds if target or kind.recognizes(head)), None)
    if reader is None:
        raise ArtifactError(
            f"{file} is no artifact of a known target",
            fix=f"give the target it was saved for; there are {', '.join(names)}",
        )
    with _ARTIFACT.reading(file):
        restored = reader.restore(file)
    plan = restored.program.plan or Plan(restored.target.name, {})
    report = Report(
        restored.program.provenance.source,
        restored.target.name,
        f"loaded from {file.name}",
        region_rows(lowered_regions(restored.program, restored.target), plan),
    )
    unplanned = (_NO_PLAN,) if is_unplanned(restored.program) else ()
    report = replace(report, warnings=(*unplanned, *restored.program.provenance.warnings))
    return Compiled(restored.program, restored.target, plan, report, restored.artifact)


_NO_PLAN = (
    "the file is quantized and holds no plan: regions are listed as float32, "
    "and verify() cannot compare them"
)
_ARTIFACT = Door("the artifact", ArtifactError, fix="save it again with Compiled.save")


def _dominates(a: FrontierPoint, b: FrontierPoint) -> bool:
    """Whether `a` is at least as good in everything and better in something."""
    left = (a.seconds or 0.0, a.loss or 0.0, a.nbytes)
    right = (b.seconds or 0.0, b.loss or 0.0, b.nbytes)
    return a is not b and all(x <= y for x, y in zip(left, right, strict=True)) and left != right


def _verified(
    target: Target, selection: Selection, feeds: Sequence[Feed], seconds: float
) -> Verification:
    """One sample through the integer reference; without time, only the kernels are counted."""
    if not target.evidence.timed:
        return Verification(target.name, target.tolerance_lsb)
    samples = feeds[:1] if seconds > 0 else ()
    return verify_artifact(
        selection.program, target, selection.artifact, samples, rows=1, seconds=seconds
    )


def _report(
    source: Program,
    target: Target,
    selection: Selection,
    reports: Sequence[PipelineReport],
    checked: Verification,
    seconds: float,
) -> Report:
    passes = [row for report in reports for row in pass_rows(report)]
    found = [*checked.diagnostics, *selection.diagnostics]
    if checked.checked:
        found.append(Diagnostic(Severity.INFO, "VERIFY00", checked.summary))
    if selection.predicted is not None and selection.loss is not None:
        noted = f"loss predicted {selection.predicted:.2e}, measured {selection.loss:.2e} of signal"
        found.append(Diagnostic(Severity.INFO, "SEARCH00", noted))
    engine = selection.artifact.stand_in
    if engine is not None:
        noted = f"outputs and losses are those of {engine}, in the place of {target.name}"
        found.append(Diagnostic(Severity.INFO, "ENGINE00", noted))
    if target.evidence.model is not None:
        noted = f"times are modelled by {target.evidence.model}; nothing was timed"
        found.append(Diagnostic(Severity.INFO, "TIME00", noted))
    found += ops_outside(selection.options, target.name)
    found += [each for report in reports for each in report.diagnostics]
    found += [each for options in selection.options for each in target.objections(options.region)]
    legal = target.legality(selection.program)
    found += [each for each in legal if each.severity >= Severity.WARNING and each not in found]
    stopped = [_INTERRUPTED] if selection.interrupted else []
    warnings = [
        *stopped,
        *selection.warnings,
        *source.provenance.warnings,
        *_promises(selection, target),
    ]
    warnings += unmet_overrides(selection.options)
    rows = region_rows([each.region for each in selection.options], selection.plan)
    return Report(
        source=source.provenance.source,
        target=target.name,
        summary=selection.summary,
        regions=rows,
        passes=tuple(replace(row, number=i) for i, row in enumerate(passes, 1)),
        figures=_figures(selection, target),
        diagnostics=worst_first(found),
        warnings=tuple(warnings),
        seconds=seconds,
        variants=tuple(map(told, selection.tried)),
        interrupted=selection.interrupted,
    )


_INTERRUPTED = "the search was interrupted: this is the best that was found until then"


def _figures(selection: Selection, target: Target) -> tuple[Figure, ...]:
    sizes = selection.baseline.nbytes, selection.artifact.nbytes
    figures = [Figure("size", "bytes", float(sizes[0]), float(sizes[1]))]
    timed = selection.latencies.get(selection.chosen)
    base = selection.latencies.get("float")
    if timed is not None and base is not None:
        name = "latency" if target.evidence.timed else "modelled latency"
        figures.insert(0, Figure(name, "s", base.seconds, timed.seconds))
    if selection.score is not None:
        figures.append(Figure("score", "", *selection.score, better="higher"))
    return tuple(figures)


def _promises(selection: Selection, target: Target) -> list[str]:
    """What a fixed scheme does not keep of 'never slower, never broken'."""
    timed = selection.latencies.get(selection.chosen)
    if timed is None or timed.ratio <= 1.03:
        return []
    quantized = any(choice.precision != FLOAT for choice in selection.plan.choices.values())
    if not quantized:
        return []
    speed = f"{timed.speed}{target.evidence.by_model}"
    return [f"this plan is slower than float ({speed}); scheme='auto' avoids that"]
