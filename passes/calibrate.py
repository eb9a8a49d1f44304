"""`calibrate`: runs the calibration data through the float program and keeps what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_ir as ir

from qcompiler.calibration.instrument import float_model
from qcompiler.calibration.run import Calibration, run_calibration
from qcompiler.calibration.sites import Site, find_sites, observer_nodes
from qcompiler.errors import CalibrationError
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import source_line
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.pipeline.contract import Outcome, Pass, PassContext


@dataclass(frozen=True)
class Calibrate(Pass):
    """Fills `program.observations` from `context.feeds` and writes `low` and `high` on Observers.

    Options of the context: `checkpoint` (a path; state is kept there after every shard, and a
    later run goes on from it), `calibration_bytes` (cap on values held at once), `threads`.
    """

    name: ClassVar[str] = "calibrate"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.OBSERVED})
    establishes: ClassVar[frozenset[Property]] = frozenset({Property.CALIBRATED})
    destroys: ClassVar[frozenset[Property]] = frozenset()

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        if context.feeds is None:
            raise CalibrationError(
                "no calibration data was given", fix="pass calibration=<iterable of feeds>"
            )
        sites = find_sites(program)
        context.progress.start("calibrate", _length(context.feeds))
        try:
            result = run_calibration(
                float_model(program, sites),
                program.signature,
                context.feeds,
                progress=context.progress,
                executor=context.executor,
                **_run_options(context),
            )
        finally:
            context.progress.finish()
        program.observations.clear()
        program.observations.update(result.observations)
        _annotate(program, rewriter)
        diagnostics = tuple(_findings(program, sites, result))
        return Outcome(diagnostics, {"samples": result.samples, "observed": len(sites)})


def _run_options(context: PassContext) -> dict[str, Any]:
    names = {"checkpoint": "checkpoint", "calibration_bytes": "cap", "threads": "threads"}
    given = context.options
    return {ours: given[name] for name, ours in names.items() if given.get(name) is not None}


def _length(feeds: Iterable[Any]) -> int | None:
    return len(feeds) if isinstance(feeds, Sized) else None


def _annotate(program: Program, rewriter: Rewriter) -> None:
    """`low` and `high` of what was seen, for readers of the program's text."""
    for node in list(observer_nodes(program)):
        value = node.inputs[0]
        observer = program.observations.get(value.name or "") if value is not None else None
        if observer is not None and observer.count:
            rewriter.set_attribute(node, "low", float(observer.low))
            rewriter.set_attribute(node, "high", float(observer.high))


def _findings(program: Program, sites: tuple[Site, ...], result: Calibration) -> list[Diagnostic]:
    producers = {v.name: n for n, v in _observed(program)}
    found = []
    for site in sites:
        observer = result.observations.get(site.value)
        node = producers.get(site.value)
        source = source_line(node) if node is not None else None
        if observer is None:
            found.append(_never_computed(site, source))
        elif any(observer.nonfinite):
            found.append(_nonfinite(site, observer.nonfinite, source))
    return found


def _observed(program: Program) -> list[tuple[ir.Node, ir.Value]]:
    values = [node.inputs[0] for node in observer_nodes(program)]
    return [(n, v) for v in values if v is not None and (n := v.producer()) is not None]


def _never_computed(site: Site, source: str | None) -> Diagnostic:
    where = "a branch or body that was never taken" if site.nested else "an empty tensor"
    return Diagnostic(
        Severity.WARNING,
        "not-observed",
        f"'{site.value}' was not computed for any calibration sample ({where}); it stays float",
        node=site.producer,
        source=source,
        hint="add calibration samples that take this branch",
    )


def _nonfinite(site: Site, counts: tuple[int, int, int], source: str | None) -> Diagnostic:
    minus, plus, nan = counts
    return Diagnostic(
        Severity.WARNING,
        "nonfinite",
        f"'{site.value}' held non-finite values ({minus} x -inf, {plus} x +inf, {nan} x NaN); "
        "it stays float",
        node=site.producer,
        source=source,
        hint="look at what this node computes, or keep its region float by an override",
    )
