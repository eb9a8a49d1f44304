"""`insert-observers`: marks the values whose ranges a quantized program needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_ir as ir

from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.element_types import FLOATS, element_type
from qcompiler.ir.indices import size_values
from qcompiler.ir.masks import masked_values
from qcompiler.ir.optraits import activation_positions, traits
from qcompiler.ir.program import Program, Property
from qcompiler.ir.requests import Request
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_graphs, all_nodes, is_constant
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.observers import make_observer
from qcompiler.target.contract import Target


@dataclass(frozen=True)
class InsertObservers(Pass):
    """One request for every float value that a region of the target reads or writes.

    Values of ops that keep their operands' scale (pools, reshapes, concat) are followed as far as
    such ops reach. Without a target every activation is observed. Left out: constants, integers,
    attention masks and the scores they were added to (their range would be the mask's), and numbers
    that are sizes or indices.

    Attributes:
        method: `minmax`, `moving-average`, `percentile`, `entropy` or `mse`.
        percentile: Of `percentile`; None for its default.
        bins: Most histogram bins; None for the default.
        cap: Elements taken of a long row; None for the default.
    """

    name: ClassVar[str] = "insert-observers"
    requires: ClassVar[frozenset[Property]] = frozenset()
    establishes: ClassVar[frozenset[Property]] = frozenset({Property.OBSERVED})
    destroys: ClassVar[frozenset[Property]] = frozenset({Property.CALIBRATED})

    method: str = "minmax"
    percentile: float | None = None
    bins: int | None = None
    cap: int | None = None

    def __post_init__(self) -> None:
        make_observer(self.method, **self._options())

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        program.requests.clear()
        program.observations.clear()
        program.statistics.clear()
        wanted = wanted_values(program, context.target)
        barred = masked_values(program) | size_values(program)
        diagnostics = []
        options = {"method": self.method, **self._options()}
        for value in wanted:
            if value in barred:
                continue
            dtype = element_type(value)
            if dtype is None:
                diagnostics.append(_untyped(value))
            elif dtype in FLOATS:
                program.requests[Request.of(value.name or "", **options)] = None
        return Outcome(tuple(diagnostics), {"observed": len(program.requests)})

    def _options(self) -> dict[str, Any]:
        given = {"percentile": self.percentile, "bins": self.bins, "cap": self.cap}
        return {name: option for name, option in given.items() if option is not None}


def wanted_values(program: Program, target: Target | None) -> list[ir.Value]:
    """Values that a quantized region may read or write, in graph order, each once."""
    if target is None:
        return _all_activations(program)
    wanted = _region_values(program, target)
    _spread_over_shared_scales(program, wanted)
    return [value for value in _values_in_order(program) if value in wanted]


def _region_values(program: Program, target: Target) -> set[ir.Value]:
    found: set[ir.Value] = set()
    for region in target.regions(program):
        if not target.implementations(region):
            continue
        found.update(operand.value for operand in region.activations)
        found.add(region.output)
    return found


def _spread_over_shared_scales(program: Program, wanted: set[ir.Value]) -> None:
    """Adds operands and results of ops that keep the scale of a wanted value, until all are in.

    Results that nobody reads are left out. A node is looked at once: it may have 100 000 operands.
    """
    pending = list(wanted)
    done: set[ir.Node] = set()
    while pending:
        value = pending.pop()
        producer = value.producer()
        near = [use.node for use in value.uses()] + ([producer] if producer is not None else [])
        for node in near:
            if node in done or not traits(node).shares_scale:
                continue
            members = [node.inputs[i] for i in activation_positions(node)]
            if value not in members and value not in node.outputs:
                continue
            done.add(node)
            read = [each for each in node.outputs if each.uses() or each.is_graph_output()]
            for member in (*members, *read):
                if member is not None and member not in wanted and not is_constant(member):
                    wanted.add(member)
                    pending.append(member)


def _all_activations(program: Program) -> list[ir.Value]:
    """Everything an op with known activations reads or writes; inputs of the program too."""
    found: set[ir.Value] = set()
    for node in all_nodes(program.model):
        positions = activation_positions(node)
        if positions or traits(node).activations is None:
            found.update(v for i in positions if (v := node.inputs[i]) is not None)
            found.update(node.outputs)
    return [value for value in _values_in_order(program) if value in found]


def _values_in_order(program: Program) -> Iterator[ir.Value]:
    for graph in all_graphs(program.model):
        yield from graph.inputs
        for node in graph:
            for output in node.outputs:
                if output.name and not is_constant(output):  # an omitted output has no name
                    yield output


def _untyped(value: ir.Value) -> Diagnostic:
    producer = value.producer()
    return Diagnostic(
        Severity.WARNING,
        "untyped-value",
        f"the element type of '{value.name}' is not known, so it stays float",
        node=producer.name if producer is not None else None,
        hint="run shape inference on the model",
    )
