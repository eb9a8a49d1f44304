"""`Strategy`: what the users of the lowering decide, and `Builder`: what they write it with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
import onnx_ir as ir
import torch
from torch import fx

from qcompiler.lowering.torch_fx.constants import Array, array_of
from qcompiler.lowering.torch_fx.element_types import tensor_of


class Builder(ABC):
    """The graph under construction."""

    @abstractmethod
    def at(self, node: ir.Node) -> None:
        """Names what follows after this node, and counts it as its work."""

    @abstractmethod
    def real(self, value: ir.Value) -> fx.Node:
        """The value as readers of plain tensors get it: float, or the ONNX integers."""

    @abstractmethod
    def made(self, value: ir.Value) -> fx.Node | None:
        """The node that was bound to a value; None if there is none yet."""

    @abstractmethod
    def operand(self, node: ir.Node, index: int, plain: bool = False) -> Any:
        """An argument: None, a Python number or list if `plain` and constant, or a node."""

    @abstractmethod
    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A call of a function."""

    @abstractmethod
    def method(self, name: str, *args: Any) -> fx.Node:
        """A call of a tensor method."""

    @abstractmethod
    def module(self, stem: str, module: torch.nn.Module, *args: Any) -> fx.Node:
        """A call of a module."""

    @abstractmethod
    def attribute(self, stem: str, value: Any) -> fx.Node:
        """A tensor (a buffer) or object of the module, named after the place and `stem`."""

    @abstractmethod
    def named(self, name: str, value: Any) -> fx.Node:
        """The same under a name of its own; a Parameter keeps the dots of its name."""

    @abstractmethod
    def dotted(self, name: str, value: torch.Tensor, kept: bool = True) -> fx.Node:
        """A parameter or buffer whose dots are module boundaries; see `GraphWriter.dotted`."""

    @abstractmethod
    def attributes(self, node: ir.Node) -> dict[str, Any]:
        """The node's attributes as keywords."""

    @abstractmethod
    def bind(self, node: ir.Node, result: fx.Node) -> None:
        """Gives the result of a call to the node's outputs that are read."""

    @abstractmethod
    def bind_value(self, value: ir.Value, result: fx.Node) -> None:
        """Gives a node to one value, as it is."""


class Strategy(Protocol):
    """How one graph is lowered; every body of a control flow operator has one of its own.

    As it stands: constants are buffers, every node is a float call.
    """

    def fold(self, value: ir.Value | None) -> Array | None:
        """The value as an array if it is to be a constant of the module."""
        return array_of(value)

    def constant(self, value: ir.Value, array: Array, builder: Builder) -> fx.Node:
        """The node of a folded value."""
        held = tensor_of(np.array(array, order="C", copy=True))
        return builder.named(value.name or "constant", held)

    def lower(self, node: ir.Node, builder: Builder) -> bool:
        """Writes a node in the strategy's own way, or nothing where another node covers it.

        Returns:
            Whether it did; otherwise the node becomes a call of its row.
        """
        return False

    def read(self, value: ir.Value, builder: Builder) -> fx.Node | None:
        """What readers of a value get that the strategy holds in a way of its own."""
        return None

    def computed(self, value: ir.Value, result: fx.Node, builder: Builder) -> fx.Node:
        """What readers get of a value that a call (or the caller) gave."""
        return result

    def argument(self, node: ir.Node, index: int, given: fx.Node, builder: Builder) -> fx.Node:
        """What one node reads as one of its inputs, where others may read something else."""
        return given


StrategyFor: TypeAlias = Callable[[Any], Strategy]
"""The strategy of a graph, of a stretch of one, or of a body: `ir.Graph` or `ir.GraphView`."""


class FloatCalls(Strategy):
    """Plain float lowering."""
