"""`lower_graph`: one walk over a graph, which the strategy may interrupt at every node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch import fx

from qcompiler.errors import LoweringError
from qcompiler.ir.origin import describe, module_path
from qcompiler.ir.walk import is_op, is_read
from qcompiler.lowering.torch_fx.checks import CONTROL
from qcompiler.lowering.torch_fx.control import control_module
from qcompiler.lowering.torch_fx.element_types import tensor_of
from qcompiler.lowering.torch_fx.ops import unsigned
from qcompiler.lowering.torch_fx.ops.row import asks_more
from qcompiler.lowering.torch_fx.ops.table import row_of
from qcompiler.lowering.torch_fx.strategy import Builder, Strategy, StrategyFor
from qcompiler.lowering.torch_fx.writer import GraphWriter, identifier


def lower_graph(
    graph: ir.Graph | ir.GraphView, strategy_for: StrategyFor, captured: Sequence[ir.Value] = ()
) -> GraphLowering:
    """Lowers a graph and the bodies inside; `built` is the result.

    Args:
        graph: A graph, or a stretch of one, whose ops `check_ops` let through.
        strategy_for: Gives the strategy of each graph.
        captured: Values of outer graphs, which become inputs behind the graph's own.

    Raises:
        LoweringError: A value is read where nothing computes it.
    """
    lowering = GraphLowering(graph, strategy_for, captured)
    lowering.build()
    return lowering


class GraphLowering(Builder):
    """One graph on its way to a GraphModule that gives a tuple of outputs."""

    def __init__(
        self,
        graph: ir.Graph | ir.GraphView,
        strategy_for: StrategyFor,
        captured: Sequence[ir.Value],
    ) -> None:
        self.strategy: Strategy = strategy_for(graph)
        self._graph = graph
        self._strategy_for = strategy_for
        self._captured = captured
        self._out = GraphWriter()
        self._real: dict[ir.Value, fx.Node] = {}
        self._module: fx.GraphModule | None = None

    @property
    def built(self) -> fx.GraphModule:
        """The module of this graph."""
        assert self._module is not None
        return self._module

    @property
    def values(self) -> dict[str, fx.Node]:
        """The node of every value of this graph that is held as a plain tensor, by name."""
        return {value.name or "": node for value, node in self._real.items()}

    def build(self) -> None:
        """Walks the graph."""
        for value in (*self._graph.inputs, *self._captured):
            given = self._out.placeholder(value.name or "input")
            inner = value in self._graph.inputs
            self._real[value] = self.strategy.computed(value, given, self) if inner else given
        for node in self._graph:
            if not is_op(node, "Constant"):
                self.at(node)
                self._visit(node)
        self._out.graph.output(tuple(self.real(value) for value in self._graph.outputs))
        module = fx.GraphModule(self._out.root, self._out.graph, identifier(self._name))
        module.graph.eliminate_dead_code()
        module.recompile()
        module.delete_all_unused_submodules()
        module.eval()
        self._module = module

    @property
    def _name(self) -> str:
        return self._graph.name or "Lowered"

    def _visit(self, node: ir.Node) -> None:
        if self.strategy.lower(node, self):
            return
        if is_op(node, *CONTROL):
            self.bind(node, self._control(node))
        elif self.strategy.fold(node.outputs[0]) is None:
            self.bind(node, self._row_call(node))

    def _row_call(self, node: ir.Node) -> fx.Node:
        row = row_of(node)
        assert row is not None, "`check_ops` lets no other node through"
        operands = [self.operand(node, i, i in row.plain) for i in range(len(node.inputs))]
        function = row.function
        if row.unsigned is not None and _is_unsigned(node):
            function = row.unsigned
        elif row.several is not None and asks_more(node):
            function = row.several
        return self.call(function, *operands, **{**self.attributes(node), **row.facts(node)})

    def _control(self, node: ir.Node) -> fx.Node:
        def lower_body(body: ir.Graph, captured: Sequence[ir.Value]) -> fx.GraphModule:
            return lower_graph(body, self._strategy_for, captured).built

        module, captured = control_module(node, lower_body)
        operands = [self.operand(node, index) for index in range(len(node.inputs))]
        outer = [self.real(value) for value in captured]
        return self.module(self._out.stem, module, operands, outer)

    # what strategies write with

    def at(self, node: ir.Node) -> None:
        first = node.outputs[0].name if node.outputs else None
        self._out.stem = module_path(node) or first or node.op_type
        self._out.region = node.name or ""

    def real(self, value: ir.Value) -> fx.Node:
        held = self.strategy.read(value, self)
        if held is not None:
            return held
        if value not in self._real:
            self._real[value] = self._constant(value)
        return self._real[value]

    def made(self, value: ir.Value) -> fx.Node | None:
        return self._real.get(value)

    def operand(self, node: ir.Node, index: int, plain: bool = False) -> Any:
        value = node.inputs[index]
        if value is None:
            return None
        if plain:
            if value in self._real:
                return self._real[value]
            array = self.strategy.fold(value)
            if array is not None and array.ndim <= 1:
                return array.tolist()
        return self.strategy.argument(node, index, self.real(value), self)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        return self._out.call(function, *args, **kwargs)

    def method(self, name: str, *args: Any) -> fx.Node:
        return self._out.method(name, *args)

    def module(self, stem: str, module: torch.nn.Module, *args: Any) -> fx.Node:
        return self._out.module(stem, module, *args)

    def attribute(self, stem: str, value: Any) -> fx.Node:
        return self._out.attribute(stem, value)

    def named(self, name: str, value: Any) -> fx.Node:
        if isinstance(value, torch.nn.Parameter):
            return self._out.dotted(name, value)
        before, self._out.stem = self._out.stem, name
        held = self._out.attribute("", value)
        self._out.stem = before
        return held

    def dotted(self, name: str, value: torch.Tensor, kept: bool = True) -> fx.Node:
        return self._out.dotted(name, value, kept)

    def attributes(self, node: ir.Node) -> dict[str, Any]:
        return {
            name: self._attribute(each)
            for name, each in node.attributes.items()
            if each.type != ir.AttributeType.TYPE_PROTO  # of an optional that holds nothing
        }

    def bind(self, node: ir.Node, result: fx.Node) -> None:
        row = row_of(node)
        if not is_op(node, *CONTROL) and not (row is not None and row.gives_tuple(node)):
            self._give(node.outputs[0], result)
            return
        for index, value in enumerate(node.outputs):
            if value.name and is_read(value):
                self._give(value, self.method("__getitem__", result, index))

    def bind_value(self, value: ir.Value, result: fx.Node) -> None:
        self._real[value] = result

    def _give(self, value: ir.Value, result: fx.Node) -> None:
        self._real[value] = self.strategy.computed(value, result, self)

    def _constant(self, value: ir.Value) -> fx.Node:
        array = self.strategy.fold(value)
        if array is None:
            node = value.producer()
            raise LoweringError(
                f"the value '{value.name}' is not available where it is used",
                where=describe(node) if node is not None else None,
            )
        return self.strategy.constant(value, array, self)

    def _attribute(self, given: ir.Attr) -> Any:
        if given.type == ir.AttributeType.TENSOR:
            return self.attribute(given.name, tensor_of(given.as_tensor().numpy().copy()))
        if given.type in (ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS):
            return list(given.value)
        return given.value


def _is_unsigned(node: ir.Node) -> bool:
    """Whether the node computes with unsigned integers that torch only stores."""
    first = node.inputs[0]
    return first is not None and first.dtype in unsigned.TYPES
