"""`calibrate`: runs the calibration data through the float program and keeps what was seen."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_ir as ir

from qcompiler.calibration.instrument import float_model
from qcompiler.calibration.run import Calibration, run_calibration
from qcompiler.calibration.sites import Site, find_sites, observer_nodes
from qcompiler.errors import CalibrationError
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import describe, source_line
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes
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
    """How many feeds there will be; None when their source does not tell it."""
    return operator.length_hint(feeds, 0) or None


def _annotate(program: Program, rewriter: Rewriter) -> None:
    """`low` and `high` of what was seen, for readers of the program's text."""
    for node in list(observer_nodes(program)):
        value = node.inputs[0]
        observer = program.observations.get(value.name or "") if value is not None else None
        if observer is not None and observer.count:
            rewriter.set_attribute(node, "low", float(observer.low))
            rewriter.set_attribute(node, "high", float(observer.high))


def _findings(program: Program, sites: tuple[Site, ...], result: Calibration) -> list[Diagnostic]:
    """Values with non-finite numbers one by one, what was never computed by branch or body."""
    nodes = {site.value: node for site, node in _by_site(program, sites)}
    found = [
        _nonfinite(site, observer.nonfinite, nodes[site.value])
        for site in sites
        if (observer := result.observations.get(site.value)) and any(observer.nonfinite)
    ]
    unseen = [site for site in sites if site.value not in result.observations]
    found += [_empty(site, nodes[site.value]) for site in unseen if not site.nested]
    idle: dict[ir.Graph, list[Site]] = {}
    for site in unseen:
        graph = _home(nodes[site.value])
        if site.nested and graph is not None:
            idle.setdefault(graph, []).append(site)
    owners = {body: (node, name) for node in all_nodes(program.model) for name, body in _held(node)}
    return found + [_never_run(*owners[graph], values) for graph, values in idle.items()]


def _by_site(program: Program, sites: tuple[Site, ...]) -> Iterator[tuple[Site, ir.Node]]:
    """Sites with their Observer nodes."""
    observers = {node.inputs[0].name: node for node in observer_nodes(program) if node.inputs[0]}
    return ((site, observers[site.value]) for site in sites)


def _home(observer: ir.Node) -> ir.Graph | None:
    return observer.graph if isinstance(observer.graph, ir.Graph) else None


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


def _empty(site: Site, observer: ir.Node) -> Diagnostic:
    return Diagnostic(
        Severity.WARNING,
        "never-run",
        f"'{site.value}' was empty for every calibration sample; it stays float",
        node=site.producer,
        source=source_line(observer),
    )


def _nonfinite(site: Site, counts: tuple[int, int, int], observer: ir.Node) -> Diagnostic:
    minus, plus, nan = counts
    return Diagnostic(
        Severity.WARNING,
        "nonfinite",
        f"'{site.value}' held non-finite values ({minus} x -inf, {plus} x +inf, {nan} x NaN); "
        "it stays float",
        node=site.producer,
        source=source_line(observer),
        hint="look at what this node computes, or keep its region float by an override",
    )
