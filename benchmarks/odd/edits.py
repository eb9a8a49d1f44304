"""Edits of a model's protobuf: what tables of odd graphs, texts and artifacts are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx

Edit = Callable[[onnx.ModelProto], Any]


def _at(changed: onnx.ModelProto, path: str) -> Any:
    """What lies at `graph.node[0].input`; the model itself at the empty path."""
    held: Any = changed
    for step in path.split(".") if path else ():
        name, _, at = step.partition("[")
        held = getattr(held, name)
        held = held[int(at[:-1])] if at else held
    return held


def put(path: str, value: Any) -> Edit:
    """Sets a field, such as `graph.node[0].op_type`; None clears it."""

    def edit(changed: onnx.ModelProto) -> None:
        above, _, last = path.rpartition(".")
        held = _at(changed, above)
        name, _, at = last.partition("[")
        if at:
            getattr(held, name)[int(at[:-1])] = value
        elif isinstance(value, list):
            getattr(held, name)[:] = value
        elif value is None:
            held.ClearField(name)
        else:
            setattr(held, name, value)

    return edit


def more(path: str, *items: Any) -> Edit:
    """Appends to a repeated field."""

    def edit(changed: onnx.ModelProto) -> None:
        _at(changed, path).extend(items)

    return edit


def reverse_nodes(changed: onnx.ModelProto) -> None:
    """The last node first."""
    nodes = list(changed.graph.node)[::-1]
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
