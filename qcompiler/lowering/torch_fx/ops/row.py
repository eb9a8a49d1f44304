"""`OpRow`: how one ONNX operator runs in torch, and which of its forms do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from qcompiler.ir.walk import is_read


def _no_objection(node: ir.Node) -> str | None:
    return None


def _nothing(node: ir.Node) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class OpRow:
    """How one operator runs in torch.

    Attributes:
        function: Takes operands by position and attributes by keyword.
        plain: Operand positions that become Python numbers when they are constant.
        objection: What of a node the function does not compute, None if it is all there.
        several: Gives all outputs as a tuple, where `function` gives the first one only.
        is_tuple: Whether `function` itself gives a tuple, for one output, too.
        unsigned: The same in numpy, for unsigned integers of 16 bits and more: torch stores them
            and computes next to nothing with them.
        facts: Keywords that follow from the types of the node's values.
    """

    function: Callable[..., Any]
    plain: tuple[int, ...] = ()
    objection: Callable[[ir.Node], str | None] = _no_objection
    several: Callable[..., Any] | None = None
    is_tuple: bool = False
    unsigned: Callable[..., Any] | None = None
    facts: Callable[[ir.Node], Mapping[str, Any]] = _nothing

    def gives_tuple(self, node: ir.Node) -> bool:
        """Whether the call for this node gives a tuple of outputs."""
        return self.is_tuple or (self.several is not None and asks_more(node))


def asks_more(node: ir.Node) -> bool:
    """Whether an output beyond the first one is read."""
    return any(value.name and is_read(value) for value in node.outputs[1:])
