"""Switches of a gate model: an `If` in front of the readers of a value, by a flag of its gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import Usage
from qcompiler.measurement.gate import FLAGS, Gate


@dataclass(eq=False)
class Switches:
    """Puts switches into a program; `flags` becomes a further input of it.

    Attributes:
        program: Changed in place.
        flagged: The gates so far, in the order of their flags.
    """

    program: Program
    flagged: dict[Gate, ir.Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rewriter = Rewriter(self.program)
        self._flags = ir.Value(name=FLAGS, type=ir.TensorType(ir.DataType.BOOL))
        self.program.graph.inputs.append(self._flags)

    def finish(self) -> None:
        """Writes down how many flags there are."""
        self._flags.shape = ir.Shape([len(self.flagged)])

    def put(
        self,
        gate: Gate,
        value: ir.Value,
        chain: Sequence[ir.Node],
        targets: Sequence[Usage],
        outputs: bool,
    ) -> None:
        """Puts `If(flag) chain else value` in front of the targets (and graph outputs).

        Targets read `value` or what earlier gates made of it; the switch goes behind those.
        """
        flag = self.flagged[gate] if gate in self.flagged else self._flag(gate)
        self.flagged[gate] = flag
        current = targets[0].node.inputs[targets[0].idx] if targets else value
        assert current is not None
        _rewire(chain[0], value, current)
        plain = ir.node("Identity", [current], name=f"{chain[-1].name}_plain")
        switched = self._if(flag, current, chain, plain, value.shape)
        same = [use for use in targets if use.node.inputs[use.idx] is current]
        self.rewriter.replace_uses(current, switched, only=same)
        if outputs and value.is_graph_output() and current is value:
            self.rewriter.replace_uses(value, switched, keep=[plain, *chain])

    def _if(
        self,
        flag: ir.Value,
        current: ir.Value,
        chain: Sequence[ir.Node],
        plain: ir.Node,
        shape: ir.Shape | None,
    ) -> ir.Value:
        """The result of `If(flag) chain else plain`, where `current` is known."""
        stem = chain[-1].name or ""
        bodies = []
        for nodes, end, part in ((chain, "on", "then"), ([plain], "off", "else")):
            output = nodes[-1].outputs[0]
            output.name = f"{stem}_{end}"
            output.type, output.shape = ir.TensorType(ir.DataType.FLOAT), shape
            bodies.append(ir.Graph([], [output], nodes=nodes, name=f"{stem}_{part}"))
        producer, home = current.producer(), current.graph
        if producer is None and home in (None, self.program.graph):
            producer = flag.producer()
        node = self.rewriter.insert(
            "If",
            [flag],
            after=producer,
            graph=home,
            attributes=dict(zip(("then_branch", "else_branch"), bodies, strict=True)),
            outputs=[f"{stem}_switched"],
            dtype=ir.DataType.FLOAT,
            shape=shape,
        )
        return node.outputs[0]

    def _flag(self, gate: Gate) -> ir.Value:
        index = self.rewriter.constant(np.asarray(len(self.flagged), np.int64), "gate_index")
        node = self.rewriter.insert(
            "Gather", [self._flags, index], outputs=["gate_flag"], dtype=ir.DataType.BOOL
        )
        return node.outputs[0]


def _rewire(node: ir.Node, old: ir.Value, new: ir.Value) -> None:
    for index, operand in enumerate(node.inputs):
        if operand is old:
            node.replace_input_with(index, new)
