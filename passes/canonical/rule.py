"""What a canonicalization rule is, and the sweep that applies a table of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_graphs

Apply = Callable[[ir.Node, Rewriter], bool]

_MAX_SWEEPS = 12
"""Rules work forwards, so two sweeps are the rule; the bound keeps the time linear."""


@dataclass(frozen=True)
class Rule:
    """One local rewrite.

    Attributes:
        name: Name in the pass report.
        ops: ONNX ops of the node that the rule is tried on.
        apply: Rewrites around the node and says whether it did. It leaves everything as it was
            when it says no.
    """

    name: str
    ops: frozenset[str]
    apply: Apply


def rule(name: str, *ops: str) -> Callable[[Apply], Rule]:
    """Decorator that makes a function a `Rule` for these ops."""

    def wrap(function: Apply) -> Rule:
        return Rule(name, frozenset(ops), function)

    return wrap


def by_op(rules: Iterable[Rule]) -> Mapping[str, Sequence[Rule]]:
    """The rules to try on each op, in order."""
    table: dict[str, list[Rule]] = {}
    for each in rules:
        for op in sorted(each.ops):
            table.setdefault(op, []).append(each)
    return table


def sweep(program: Program, rewriter: Rewriter, rules: Iterable[Rule]) -> Counter[str]:
    """Applies the rules to every node, subgraphs included, until none fires.

    Each sweep visits each node once, O(nodes).

    Returns:
        How often each rule fired, by name.
    """
    table = by_op(rules)
    fired: Counter[str] = Counter()
    for _ in range(_MAX_SWEEPS):
        before = fired.total()
        for graph in list(all_graphs(program.model)):
            for node in tuple(graph):
                _visit(node, table, rewriter, fired)
        if fired.total() == before:
            break
    return fired


def _visit(
    node: ir.Node, table: Mapping[str, Sequence[Rule]], rewriter: Rewriter, fired: Counter[str]
) -> None:
    if node.domain not in ("", "ai.onnx"):
        return
    for each in table.get(node.op_type, ()):
        if node.graph is None:
            return
        if each.apply(node, rewriter):
            fired[each.name] += 1
