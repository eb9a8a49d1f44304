"""`dead-code`: removes what does not reach an output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import bodies, is_any_read, values_by_name
from qcompiler.pipeline.contract import Outcome, Pass, PassContext


@dataclass(frozen=True)
class DeadCode(Pass):
    """Erases nodes and initializers that no output depends on, in subgraphs too.

    An observer is kept as long as the value it watches is live; watching does not keep a value
    alive.
    """

    name: ClassVar[str] = "dead-code"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        remove_dead(program, rewriter)
        return Outcome()


def remove_dead(program: Program, rewriter: Rewriter) -> None:
    """Erases what no output depends on, O(nodes)."""
    _clean(program.graph, rewriter)
    rewriter.drop_unused_constants(untouched=True)
    if program.requests:
        left = values_by_name(program.model)
        program.requests = {each: None for each in program.requests if each.value in left}


def _clean(graph: ir.Graph, rewriter: Rewriter) -> None:
    """One pass from the back, users before producers; bodies go before the nodes they read from."""
    for node in reversed(tuple(graph)):
        if node.graph is None:
            continue
        for body in bodies(node):
            _clean(body, rewriter)
        if not is_any_read(node):
            rewriter.erase_dead(node)
