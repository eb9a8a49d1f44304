"""Carries a value out of nested bodies: a sequence threaded through every If and Loop on the way.

A sequence takes whatever the body computes: nothing in a branch that is not taken, one array per
iteration otherwise, of any shape. Its arrays are in the order of execution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper


@dataclass(frozen=True)
class Step:
    """A graph on the way to a value, and the node through which the way goes on.

    Attributes:
        graph: The graph.
        node: Its If or Loop that holds the next graph; None in the last one.
    """

    graph: onnx.GraphProto
    node: onnx.NodeProto | None


def carry_out(path: Sequence[Step], payload: str, kind: int, name: str) -> None:
    """Adds graph output `name`: a sequence of every `payload` that the last graph computes.

    Args:
        path: From the main graph to the one that computes `payload`; Scans are Loops by now.
        payload: A tensor of the last graph.
        kind: Its element type (`TensorProto.DataType`).
        name: Of the new output of the main graph.
    """
    main = path[0].graph
    start = f"{name}.start"
    main.node.insert(0, helper.make_node("SequenceEmpty", [], [start], dtype=kind))
    _Carrier(path, payload, kind, name).thread(0, start, name)
    main.output.append(_sequence(name, kind))


@dataclass(frozen=True)
class _Carrier:
    path: Sequence[Step]
    payload: str
    kind: int
    name: str

    def thread(self, level: int, before: str, after: str) -> None:
        """In the graph of a level, makes `after` of the sequence `before`."""
        step = self.path[level]
        if step.node is None:
            insert = helper.make_node("SequenceInsert", [before, self.payload], [after])
            step.graph.node.append(insert)
        elif step.node.op_type == "If":
            self._through_if(step.node, level, before, after)
        else:
            self._through_loop(step.node, level, before, after)

    def _through_if(self, node: onnx.NodeProto, level: int, before: str, after: str) -> None:
        inner = self.path[level + 1].graph
        for attribute in node.attribute:
            if attribute.type != onnx.AttributeProto.GRAPH:
                continue
            result = f"{after}.{level}.{attribute.name}"
            if _same(attribute.g, inner):
                self.thread(level + 1, before, result)
            else:
                attribute.g.node.append(helper.make_node("Identity", [before], [result]))
            attribute.g.output.append(_sequence(result, self.kind))
        node.output.append(after)

    def _through_loop(self, node: onnx.NodeProto, level: int, before: str, after: str) -> None:
        """One more loop-carried value; those come before the scan outputs."""
        body = self.path[level + 1].graph
        carried = len(body.input) - 2
        entering, leaving = f"{after}.{level}.in", f"{after}.{level}.out"
        node.input.extend([""] * (2 - len(node.input)))
        node.input.append(before)
        body.input.append(_sequence(entering, self.kind))
        self.thread(level + 1, entering, leaving)
        node.output.extend([""] * (len(body.output) - 1 - len(node.output)))
        _insert(node.output, carried, after)
        _insert(body.output, carried + 1, _sequence(leaving, self.kind))


def _same(one: onnx.GraphProto, other: onnx.GraphProto) -> bool:
    """Whether both are the same message; protobuf hands out a new wrapper now and then."""
    return one is other or one.SerializeToString() == other.SerializeToString()


def _sequence(name: str, kind: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_sequence_value_info(name, kind, None)


def _insert(field: Any, index: int, item: Any) -> None:
    """Inserts into a repeated field."""
    items = [*field[:index], item, *field[index:]]
    copies = [each if isinstance(each, str) else _copy(each) for each in items]
    del field[:]
    field.extend(copies)


def _copy(message: Any) -> Any:
    return type(message).FromString(message.SerializeToString())
