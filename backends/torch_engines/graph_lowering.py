"""`GraphLowering`: one walk over a graph; integer kernels, movement on integers, float calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import fx

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.constants import Levels, array_of, levels_of
from qcompiler.backends.torch_engines.element_types import tensor_of
from qcompiler.backends.torch_engines.kernels.island import (
    Island,
    Kernel,
    Refusal,
    Setting,
    Writer,
    find_island,
    input_levels,
)
from qcompiler.backends.torch_engines.kernels.moving import keeps_levels
from qcompiler.backends.torch_engines.kernels.table import KERNELS, MOVERS
from qcompiler.backends.torch_engines.ops import unsigned
from qcompiler.backends.torch_engines.ops.row import asks_more, is_read
from qcompiler.backends.torch_engines.ops.table import TABLE, row_of
from qcompiler.backends.torch_engines.special import Special, find_specials
from qcompiler.backends.torch_engines.writer import GraphWriter, identifier
from qcompiler.errors import LoweringError
from qcompiler.ir.origin import describe, module_path
from qcompiler.ir.walk import is_op

_BYTES = (ir.DataType.UINT8, ir.DataType.INT8)
CONTROL = ("If", "Loop", "Scan", "SequenceMap")
"""Ops with bodies."""


@dataclass
class Record:
    """Integer calls and refused islands of a program, subgraphs included."""

    integer: list[str] = field(default_factory=list)
    missed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Quantized:
    """A value held as a torch quint8 tensor."""

    node: fx.Node
    levels: Levels


@dataclass(frozen=True)
class Held:
    """Where the module computes a value: an fx node, and whether ONNX has it as int8."""

    node: str
    signed: bool


class GraphLowering(Writer):
    """Lowers one graph or subgraph."""

    def __init__(
        self,
        graph: ir.Graph,
        setting: Setting,
        record: Record,
        captured: Sequence[ir.Value] = (),
    ) -> None:
        self._graph = graph
        self._setting = setting
        self._record = record
        self._captured = captured
        self.out = GraphWriter()
        self._real: dict[ir.Value, fx.Node] = {}
        self._integer: dict[ir.Value, _Quantized] = {}
        self._kernels: dict[ir.Node, tuple[Island, Kernel]] = {}
        self._specials: dict[ir.Node, Special] = {}
        self._absorbed: set[ir.Node] = set()

    def build(self) -> fx.GraphModule:
        """The GraphModule of this graph."""
        self._choose_kernels()
        for value in (*self._graph.inputs, *self._captured):
            self._real[value] = self.out.placeholder(value.name or "input")
        for node in self._graph:
            if node not in self._absorbed and not is_op(node, "Constant"):
                self._visit(node)
        outputs = tuple(self.real(value) for value in self._graph.outputs)
        self.out.graph.output(outputs)
        module = fx.GraphModule(self.out.root, self.out.graph, _class_name(self._graph))
        module.graph.eliminate_dead_code()
        module.recompile()
        module.delete_all_unused_submodules()
        module.eval()
        return module

    def held(self) -> dict[str, Held]:
        """The values of this graph that the module computes, by name."""
        found = {v.name or "": Held(node.name, False) for v, node in self._real.items()}
        for value, each in self._integer.items():
            found[value.name or ""] = Held(each.node.name, each.levels.signed)
        return found

    # what kernels write with

    def integer(self, value: ir.Value) -> fx.Node:
        node = value.producer()
        assert node is not None
        source = node.inputs[0]
        levels = levels_of(node)
        assert source is not None
        assert levels is not None
        held = self._integer.get(source)
        if held is not None and held.levels.same_as(levels):
            return held.node
        return self._wrapped(source, levels).node

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        return self.out.call(function, *args, **kwargs)

    def attribute(self, stem: str, value: Any) -> fx.Node:
        return self.out.attribute(stem, value)

    def real(self, value: ir.Value) -> fx.Node:
        """The value as a plain tensor: float, or the ONNX integers."""
        if value not in self._real:
            self._real[value] = self._make_real(value)
        return self._real[value]

    def operand(self, value: ir.Value | None, plain: bool = False) -> Any:
        """A call's argument: None, a Python number or list if `plain` and constant, or a node."""
        if value is None:
            return None
        if plain and value not in self._real and value not in self._integer:
            array = array_of(value)
            if array is not None and array.ndim <= 1:
                return array.tolist()
        return self.real(value)

    # choosing

    def _choose_kernels(self) -> None:
        for special in find_specials(self._graph, self._setting):
            self._specials[special.last] = special
            self._absorbed.update(node for node in special.nodes if node is not special.last)
        for node in self._graph:
            if not is_op(node, "QuantizeLinear") or array_of(node.outputs[0]) is not None:
                continue
            island = find_island(node)
            if island is not None and not self._absorbed.intersection(island.nodes):
                self._choose(island)

    def _choose(self, island: Island) -> None:
        key = island.core.name or ""
        if is_op(island.core, *MOVERS) and self._moves_integers(island):
            self._record.integer.append(key)
            self._absorbed.update(island.nodes)
            self._kernels[island.quantize] = (island, lambda _: self._move(island.core, True).node)
            return
        row = KERNELS.get(island.core.op_type) if island.core.domain in ("", "ai.onnx") else None
        if row is None or input_levels(island.core.inputs[0]) is None:
            return
        chosen = row(island, self._setting)
        if isinstance(chosen, Refusal):
            self._record.missed[key] = chosen.reason
            return
        self._record.integer.append(key)
        self._absorbed.update(island.nodes)
        self._kernels[island.quantize] = (island, chosen)

    def _moves_integers(self, island: Island) -> bool:
        """Whether a mover between DQ and Q keeps levels and cuts nothing."""
        core = island.core
        sources = core.inputs if core.op_type == "Concat" else core.inputs[:1]
        levels = [input_levels(value) for value in sources]
        same = all(each is not None and each.same_as(island.output) for each in levels)
        plain = same and not island.bounded and not asks_more(core) and not is_op(core, "Split")
        return plain and keeps_levels(core, self._setting.engine)

    # walking

    def _visit(self, node: ir.Node) -> None:
        self.out.stem = _stem(node)
        self.out.region = node.name or ""
        if node in self._specials:
            special = self._specials[node]
            self._record.integer.append(special.nodes[0].name or "")
            self._bind(special.last, special.emit(self))
        elif is_op(node, "QuantizeLinear"):
            self._visit_quantize(node)
        elif is_op(node, "DequantizeLinear"):
            self._visit_dequantize(node)
        elif is_op(node, *MOVERS) and self._moves_held_integers(node):
            self._integer[node.outputs[0]] = self._move(node, False)
            self._record.integer.append(node.name or "")
        elif is_op(node, *CONTROL):
            self._bind(node, self._control(node))
        elif array_of(node.outputs[0]) is None:
            self._bind(node, self._float_call(node))

    def _visit_quantize(self, node: ir.Node) -> None:
        value = node.outputs[0]
        if array_of(value) is not None:
            return
        levels = levels_of(node)
        source = node.inputs[0]
        if levels is None or source is None:
            self._bind(node, self._float_call(node))
        elif node in self._kernels:
            island, kernel = self._kernels[node]
            self.out.stem = _stem(island.core)
            self.out.region = island.core.name or ""
            self._integer[value] = _Quantized(kernel(self), levels)
        else:
            real = self.real(source)
            self.out.stem = f"{source.name}_quantized"
            made = self.call(
                torch.quantize_per_tensor, real, levels.scale, levels.zero_point, torch.quint8
            )
            self._integer[value] = _Quantized(made, levels)

    def _visit_dequantize(self, node: ir.Node) -> None:
        if array_of(node.outputs[0]) is not None:
            return
        source = node.inputs[0]
        if levels_of(node) is None or source is None or source.dtype not in (*_BYTES, None):
            self._bind(node, self._float_call(node))

    def _moves_held_integers(self, node: ir.Node) -> bool:
        sources = node.inputs if node.op_type == "Concat" else node.inputs[:1]
        held = [self._integer.get(value) if value is not None else None for value in sources]
        first = held[0]
        if first is None or asks_more(node) or is_op(node, "Split"):
            return False
        if not keeps_levels(node, self._setting.engine):
            return False
        return all(each is not None and each.levels.same_as(first.levels) for each in held)

    def _move(self, node: ir.Node, dequantized: bool) -> _Quantized:
        """A mover on quantized tensors; operands are DQ outputs or the integers themselves."""
        row = TABLE[node.op_type]
        count = len(node.inputs) if node.op_type == "Concat" else 1
        if dequantized:
            levels = input_levels(node.inputs[0])
            data: list[Any] = [self.integer(v) for v in node.inputs[:count] if v is not None]
        else:
            held = [self._integer[v] for v in node.inputs[:count] if v is not None]
            levels, data = held[0].levels, [each.node for each in held]
        assert levels is not None
        rest = [self.operand(v, i in row.plain) for i, v in enumerate(node.inputs) if i >= count]
        if node.op_type == "Pad":
            rest = self._pad_operands(node, rest, levels, dequantized)
        return _Quantized(self.call(row.function, *data, *rest, **self._attributes(node)), levels)

    def _pad_operands(
        self, node: ir.Node, rest: list[Any], levels: Levels, dequantized: bool
    ) -> list[Any]:
        """The fill of a quantized Pad is a real value; ONNX gives an integer on integers."""
        given = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
        fill = 0.0 if given is None else float(given.reshape(()))
        if not dequantized:
            fill = (fill + 128 * levels.signed - levels.zero_point) * levels.scale
        held = self.attribute("fill", torch.tensor(fill))
        return [rest[0], held, *rest[2:]]

    def _float_call(self, node: ir.Node) -> fx.Node:
        row = row_of(node)
        assert row is not None, "`check_ops` lets no other node through"
        operands = [self.operand(v, i in row.plain) for i, v in enumerate(node.inputs)]
        function = row.function
        if row.unsigned is not None and _is_unsigned(node):
            function = row.unsigned
        elif row.several is not None and asks_more(node):
            function = row.several
        return self.call(function, *operands, **{**self._attributes(node), **row.facts(node)})

    def _bind(self, node: ir.Node, result: fx.Node) -> None:
        """Gives a call's results to the outputs that are read."""
        if not self._gives_tuple(node):
            self._real[node.outputs[0]] = result
            return
        for index, value in enumerate(node.outputs):
            if value.name and is_read(value):
                self._real[value] = self.out.method("__getitem__", result, index)

    def _gives_tuple(self, node: ir.Node) -> bool:
        if node in self._specials:
            return is_op(node, "LSTM", "GRU")
        row = row_of(node)
        return is_op(node, *CONTROL) or (row is not None and row.gives_tuple(node))

    def _make_real(self, value: ir.Value) -> fx.Node:
        held = self._integer.get(value)
        if held is not None:
            return self._plain_integers(held)
        array = array_of(value)
        if array is not None:
            before, self.out.stem = self.out.stem, value.name or "constant"
            made = self.attribute("", tensor_of(np.array(array, order="C", copy=True)))
            self.out.stem = before
            return made
        node = value.producer()
        if node is not None and is_op(node, "DequantizeLinear") and node.graph is self._graph:
            return self.out.method("dequantize", self.integer(value))
        raise LoweringError(
            f"the value '{value.name}' is not available where it is used",
            where=describe(node) if node is not None else None,
        )

    def _plain_integers(self, held: _Quantized) -> fx.Node:
        stored = self.out.method("int_repr", held.node)
        return self.call(_to_signed, stored) if held.levels.signed else stored

    def _wrapped(self, source: ir.Value, levels: Levels) -> _Quantized:
        """The integers of `source` as a torch quantized tensor with these levels."""
        array = array_of(source)
        if array is not None:
            stored = (array.astype(np.int16) + 128 * levels.signed).astype(np.uint8)
            scale, zero = np.asarray(levels.scale), np.asarray(levels.zero_point)
            held = self.attribute("constant", adapter.integer_tensor(stored, scale, zero))
        else:
            held = self.call(_to_quantized, self.real(source), levels.scale, levels.zero_point)
        found = _Quantized(held, levels)
        self._integer.setdefault(source, found)
        return found

    def _attributes(self, node: ir.Node) -> dict[str, Any]:
        return {name: self._attribute(each) for name, each in node.attributes.items()}

    def _attribute(self, given: ir.Attr) -> Any:
        if given.type == ir.AttributeType.TENSOR:
            return self.attribute(given.name, tensor_of(given.as_tensor().numpy().copy()))
        if given.type in (ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS):
            return list(given.value)
        return given.value

    def _control(self, node: ir.Node) -> fx.Node:
        from qcompiler.backends.torch_engines.control import control_module

        def lower_body(body: ir.Graph, captured: Sequence[ir.Value]) -> fx.GraphModule:
            return GraphLowering(body, self._setting, self._record, captured).build()

        module, captured = control_module(node, lower_body)
        operands = [self.operand(value) for value in node.inputs]
        return self.out.module(
            self.out.stem, module, operands, [self.real(value) for value in captured]
        )


def _is_unsigned(node: ir.Node) -> bool:
    """Whether the node computes with unsigned integers that torch only stores."""
    first = node.inputs[0]
    return first is not None and first.dtype in unsigned.TYPES


def _to_quantized(integers: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """uint8 or int8 as a quint8 tensor; `zero_point` is the unsigned one."""
    if integers.dtype == torch.int8:
        integers = (integers.to(torch.int16) + 128).to(torch.uint8)
    return torch._make_per_tensor_quantized_tensor(integers, scale, zero_point)


def _to_signed(integers: torch.Tensor) -> torch.Tensor:
    """uint8 back to the int8 that ONNX has there."""
    return (integers.to(torch.int16) - 128).to(torch.int8)


def _stem(node: ir.Node) -> str:
    return module_path(node) or (node.outputs[0].name if node.outputs else None) or node.op_type


def _class_name(graph: ir.Graph) -> str:
    return identifier(graph.name or "Lowered")
