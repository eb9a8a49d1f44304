"""Switches of a gate model: an `If` by the flag of a gate.

Of a value it stands in front of its readers. Of a weight it holds the reader itself, once with
either weight: to hand a weight out of a branch is to copy it in every run, and kernels could not
keep it in their own layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    _swaps: dict[ir.Node, _Swap] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rewriter = Rewriter(self.program)
        self._flags = ir.Value(name=FLAGS, type=ir.TensorType(ir.DataType.BOOL))
        self.program.graph.inputs.append(self._flags)

    def finish(self) -> None:
        """Puts in the switches of weights, and writes down how many flags there are."""
        for node, swap in self._swaps.items():
            self._fork(node, swap)
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

    def swap(self, gate: Gate, node: ir.Node, index: int, other: ir.Value | ir.Node) -> None:
        """Lets a node read another weight where the gate is on.

        Args:
            gate: All weights of one node have the same.
            node: The reader.
            index: Of its operand.
            other: A constant, or a node in no graph that makes one.
        """
        self.flagged[gate] = flag = self.flagged.get(gate) or self._flag(gate)
        known = self._swaps.setdefault(node, _Swap(flag, {}))
        assert known.flag is flag
        known.others[index] = other if isinstance(other, ir.Value) else self._made(flag, other)

    def _made(self, flag: ir.Value, node: ir.Node) -> ir.Value:
        """What a node makes where a flag is set, else nothing.

        In the branch that reads it, ONNX Runtime would join both to a kernel of its own.
        """
        nothing = self.rewriter.constant(np.zeros(0, np.float32), "gate_nothing")
        plain = ir.node("Identity", [nothing], name=f"{node.name}_plain")
        return self._if(flag, nothing, [node], plain, None)

    def _fork(self, node: ir.Node, swap: _Swap) -> None:
        """`If(flag)` the node with other operands, else as it is."""
        read = [i for i, each in enumerate(node.outputs) if each.uses() or each.is_graph_output()]
        stem = node.outputs[read[0]].name if read else node.name
        bodies = {
            branch: self._branch(node, others, read, f"{stem}_{branch}")
            for branch, others in (("then_branch", swap.others), ("else_branch", {}))
        }
        names = [f"{node.outputs[i].name}_forked" for i in read]
        fork = self.rewriter.insert("If", [swap.flag], after=node, attributes=bodies, outputs=names)
        for index, new in zip(read, fork.outputs, strict=True):
            old = node.outputs[index]
            new.type, new.shape = old.type, old.shape
            self.rewriter.replace_uses(old, new)
        self.rewriter.erase_dead(node)

    def _branch(
        self,
        node: ir.Node,
        others: Mapping[int, ir.Value],
        read: Sequence[int],
        name: str,
    ) -> ir.Graph:
        inputs = [others.get(index, value) for index, value in enumerate(node.inputs)]
        copy = ir.Node(
            node.domain,
            node.op_type,
            inputs,
            node.attributes.values(),
            overload=node.overload,
            num_outputs=len(node.outputs),
            version=node.version,
            name=self.rewriter.fresh(name),
        )
        for index, (new, old) in enumerate(zip(copy.outputs, node.outputs, strict=True)):
            new.name = self.rewriter.fresh(f"{name}_{index}") if index in read else ""
            new.type, new.shape = old.type, old.shape
        return ir.Graph([], [copy.outputs[index] for index in read], nodes=[copy], name=name)

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


@dataclass(frozen=True, eq=False)
class _Swap:
    """What a node reads in the place of its operands, by index, where a flag is set."""

    flag: ir.Value
    others: dict[int, ir.Value]


def _rewire(node: ir.Node, old: ir.Value, new: ir.Value) -> None:
    for index, operand in enumerate(node.inputs):
        if operand is old:
            node.replace_input_with(index, new)
