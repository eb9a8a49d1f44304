"""`calibrate`: runs the calibration data through the float program and keeps what was seen."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_ir as ir

from qcompiler.calibration.instrument import float_model
from qcompiler.calibration.run import Calibration, run_calibration
from qcompiler.calibration.sites import Site, find_sites
from qcompiler.errors import CalibrationError
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import describe, source_line
from qcompiler.ir.program import Program, Property
from qcompiler.ir.requests import RANGE
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, values_by_name
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, step


@dataclass(frozen=True)
class Calibrate(Pass):
    """Answers `program.requests` from `context.feeds`: `program.observations`, `.statistics`.

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
        with step(context.progress, "calibrate", _length(context.feeds)):
            result = run_calibration(
                float_model(program, sites),
                program.signature,
                context.feeds,
                progress=context.progress,
                executor=context.executor,
                **_run_options(context),
            )
        program.observations = result.observations
        program.statistics = result.statistics
        diagnostics = tuple(_findings(program, sites, result))
        return Outcome(diagnostics, {"samples": result.samples, "observed": len(sites)})


def _run_options(context: PassContext) -> dict[str, Any]:
    names = {"checkpoint": "checkpoint", "calibration_bytes": "cap", "threads": "threads"}
    given = context.options
    return {ours: given[name] for name, ours in names.items() if given.get(name) is not None}


def _length(feeds: Iterable[Any]) -> int | None:
    """How many feeds there will be; None when their source does not tell it."""
    return operator.length_hint(feeds, 0) or None


def _findings(program: Program, sites: tuple[Site, ...], result: Calibration) -> list[Diagnostic]:
    """Values with non-finite numbers one by one, what was never computed by branch or body."""
    values = values_by_name(program.model)
    ranges = [site for site in sites if site.request.kind == RANGE]
    seen = result.observations
    found = [
        _nonfinite(site, seen[site.value].nonfinite, values[site.value])
        for site in ranges
        if site.value in seen and any(seen[site.value].nonfinite)
    ]
    unseen = [site for site in ranges if site.value not in seen]
    found += [_empty(site, values[site.value]) for site in unseen if not site.nested]
    idle: dict[ir.Graph, list[Site]] = {}
    for site in unseen:
        graph = values[site.value].graph
        if site.nested and isinstance(graph, ir.Graph):
            idle.setdefault(graph, []).append(site)
    owners = {body: (node, name) for node in all_nodes(program.model) for name, body in _held(node)}
    return found + [_never_run(*owners[graph], missed) for graph, missed in idle.items()]


def _line(value: ir.Value) -> str | None:
    """Where the user's code computes the value."""
    producer = value.producer()
    return None if producer is None else source_line(producer)


def _held(node: ir.Node) -> Iterator[tuple[str, ir.Graph]]:
    """Bodies of a node with the names of their attributes."""
    for name, attribute in node.attributes.items():
        if attribute.type == ir.AttributeType.GRAPH:
            yield name, attribute.as_graph()


def _never_run(owner: ir.Node, body: str, sites: list[Site]) -> Diagnostic:
    return Diagnostic(
        Severity.WARNING,
        "never-run",
        f"no calibration sample ran the {body} of {describe(owner)}; "
        f"its {len(sites)} values have no range and stay float",
        node=owner.name,
        source=source_line(owner),
        hint="add calibration samples that take this branch",
    )


def _empty(site: Site, value: ir.Value) -> Diagnostic:
    return Diagnostic(
        Severity.WARNING,
        "never-run",
        f"'{site.value}' was empty for every calibration sample; it stays float",
        node=site.producer,
        source=_line(value),
    )


def _nonfinite(site: Site, counts: tuple[int, int, int], value: ir.Value) -> Diagnostic:
    minus, plus, nan = counts
    return Diagnostic(
        Severity.WARNING,
        "nonfinite",
        f"'{site.value}' held non-finite values ({minus} x -inf, {plus} x +inf, {nan} x NaN); "
        "it stays float",
        node=site.producer,
        source=_line(value),
        hint="look at what this node computes, or keep its region float by an override",
    )
