"""How torch's quantized engines lower a graph: integer kernels, and movement on integers.

Quantized islands become one integer call each; data movement on integers stays on torch's quantized
tensors. A DequantizeLinear costs nothing until something reads it in float.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import fx

from qcompiler.backends.torch_engines import adapter
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
from qcompiler.backends.torch_engines.special import Special, find_specials
from qcompiler.ir.walk import is_op
from qcompiler.lowering.torch_fx.constants import Levels, array_of, levels_of
from qcompiler.lowering.torch_fx.ops.row import asks_more
from qcompiler.lowering.torch_fx.ops.table import TABLE
from qcompiler.lowering.torch_fx.strategy import Builder, Strategy

_BYTES = (ir.DataType.UINT8, ir.DataType.INT8)


@dataclass
class Record:
    """Integer calls and refused islands of a program, subgraphs included."""

    integer: list[str] = field(default_factory=list)
    missed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Quantized:
    """A value held as a torch quint8 tensor."""

    node: fx.Node
    levels: Levels


@dataclass(frozen=True)
class _KernelWriter(Writer):
    """What kernels write with: the graph under construction, and integers by value."""

    builder: Builder
    strategy: EngineStrategy

    def integer(self, value: ir.Value) -> fx.Node:
        return self.strategy.integer(value, self.builder)

    def real(self, value: ir.Value) -> fx.Node:
        return self.builder.real(value)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        return self.builder.call(function, *args, **kwargs)

    def clamped(self, x: fx.Node, low: float, high: float) -> fx.Node:
        if self.strategy.engine == "qnnpack":
            # Its kernel reads channels-last data in memory order and writes rows of channels-first.
            x = self.call(torch.ops.aten.contiguous.default, x)
        return self.call(adapter.op("clamp"), x, low, high)

    def attribute(self, stem: str, value: Any) -> fx.Node:
        return self.builder.attribute(stem, value)


class EngineStrategy(Strategy):
    """Chooses the kernels of one graph, and holds its quantized values.

    Args:
        setting: What kernels are chosen for.
        record: Is told what runs in integers.
        graph: The graph.
    """

    def __init__(self, setting: Setting, record: Record, graph: ir.Graph) -> None:
        self.held: dict[ir.Value, Quantized] = {}
        self._graph = graph
        self._setting = setting
        self._record = record
        self._kernels: dict[ir.Node, tuple[Island, Kernel]] = {}
        self._movers: dict[ir.Node, Island] = {}
        self._specials: dict[ir.Node, Special] = {}
        self._absorbed: set[ir.Node] = set()
        self._choose_kernels()

    @property
    def engine(self) -> str:
        """The engine that kernels are chosen for."""
        return self._setting.engine

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
            self._movers[island.quantize] = island
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

    # writing

    def lower(self, node: ir.Node, builder: Builder) -> bool:
        if node in self._absorbed:
            return True
        if node in self._specials:
            special = self._specials[node]
            self._record.integer.append(special.nodes[0].name or "")
            builder.bind(special.last, special.emit(_KernelWriter(builder, self)))
            return True
        if is_op(node, "QuantizeLinear"):
            return self._quantize(node, builder)
        if is_op(node, "DequantizeLinear"):
            return self._waits(node)
        if is_op(node, *MOVERS) and self._moves_held_integers(node):
            self.held[node.outputs[0]] = self._move(node, False, builder)
            self._record.integer.append(node.name or "")
            return True
        return False

    def _quantize(self, node: ir.Node, builder: Builder) -> bool:
        value, source = node.outputs[0], node.inputs[0]
        levels = levels_of(node)
        if array_of(value) is not None:
            return True
        if levels is None or source is None:
            return False
        if node in self._movers:
            core = self._movers[node].core
            builder.at(core)
            self.held[value] = Quantized(self._move(core, True, builder).node, levels)
        elif node in self._kernels:
            island, kernel = self._kernels[node]
            builder.at(island.core)
            self.held[value] = Quantized(kernel(_KernelWriter(builder, self)), levels)
        else:
            real, numbers = builder.real(source), (levels.scale, levels.zero_point)
            made = builder.call(torch.quantize_per_tensor, real, *numbers, torch.quint8)
            self.held[value] = Quantized(made, levels)
        return True

    def _waits(self, node: ir.Node) -> bool:
        """Whether a DequantizeLinear is a constant or is written where it is read."""
        source = node.inputs[0]
        if array_of(node.outputs[0]) is not None:
            return True
        return (
            levels_of(node) is not None and source is not None and source.dtype in (*_BYTES, None)
        )

    def _moves_held_integers(self, node: ir.Node) -> bool:
        sources = node.inputs if node.op_type == "Concat" else node.inputs[:1]
        held = [self.held.get(value) if value is not None else None for value in sources]
        first = held[0]
        if first is None or asks_more(node) or is_op(node, "Split"):
            return False
        if not keeps_levels(node, self._setting.engine):
            return False
        return all(each is not None and each.levels.same_as(first.levels) for each in held)

    def _move(self, node: ir.Node, dequantized: bool, builder: Builder) -> Quantized:
        """A mover on quantized tensors; operands are DQ outputs or the integers themselves."""
        row = TABLE[node.op_type]
        count = len(node.inputs) if node.op_type == "Concat" else 1
        sources = [value for value in node.inputs[:count] if value is not None]
        if dequantized:
            levels = input_levels(node.inputs[0])
            data: list[Any] = [self.integer(value, builder) for value in sources]
        else:
            held = [self.held[value] for value in sources]
            levels, data = held[0].levels, [each.node for each in held]
        assert levels is not None
        places = range(count, len(node.inputs))
        rest = [builder.operand(node, index, index in row.plain) for index in places]
        if node.op_type == "Pad":
            rest = [rest[0], _fill(node, levels, dequantized), *rest[2:]]
        result = builder.call(row.function, *data, *rest, **builder.attributes(node))
        return Quantized(result, levels)

    # reading

    def read(self, value: ir.Value, builder: Builder) -> fx.Node | None:
        if builder.made(value) is not None:
            return None
        node, real = value.producer(), None
        if value in self.held:
            real = _plain_integers(self.held[value], builder)
        elif (
            node is not None
            and is_op(node, "DequantizeLinear")
            and node.graph is self._graph
            and array_of(value) is None
        ):
            real = builder.method("dequantize", self.integer(value, builder))
        if real is not None:
            builder.bind_value(value, real)
        return real

    def integer(self, value: ir.Value, builder: Builder) -> fx.Node:
        """The quantized tensor behind the output of a DequantizeLinear."""
        node = value.producer()
        assert node is not None
        source = node.inputs[0]
        levels = levels_of(node)
        assert source is not None
        assert levels is not None
        held = self.held.get(source)
        if held is not None and held.levels.same_as(levels):
            return held.node
        return self._wrapped(source, levels, builder)

    def _wrapped(self, source: ir.Value, levels: Levels, builder: Builder) -> fx.Node:
        """The integers of `source` as a torch quantized tensor with these levels."""
        array = array_of(source)
        if array is not None:
            stored = (array.astype(np.int16) + 128 * levels.signed).astype(np.uint8)
            scale, zero = np.asarray(levels.scale), np.asarray(levels.zero_point)
            held = builder.attribute("constant", adapter.integer_tensor(stored, scale, zero))
        else:
            real, numbers = builder.real(source), (levels.scale, levels.zero_point)
            held = builder.call(_to_quantized, real, *numbers)
        self.held.setdefault(source, Quantized(held, levels))
        return held


def _fill(pad: ir.Node, levels: Levels, dequantized: bool) -> float:
    """The fill of a quantized Pad is a real value; ONNX gives an integer on integers."""
    given = array_of(pad.inputs[2]) if len(pad.inputs) > 2 else None
    fill = 0.0 if given is None else float(given.reshape(()))
    return fill if dequantized else (fill + 128 * levels.signed - levels.zero_point) * levels.scale


def _plain_integers(held: Quantized, builder: Builder) -> fx.Node:
    stored = builder.method("int_repr", held.node)
    return builder.call(_to_signed, stored) if held.levels.signed else stored


def _to_quantized(integers: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """uint8 or int8 as a quint8 tensor; `zero_point` is the unsigned one."""
    if integers.dtype == torch.int8:
        integers = (integers.to(torch.int16) + 128).to(torch.uint8)
    return torch._make_per_tensor_quantized_tensor(integers, scale, zero_point)


def _to_signed(integers: torch.Tensor) -> torch.Tensor:
    """uint8 back to the int8 that ONNX has there."""
    return (integers.to(torch.int16) - 128).to(torch.int8)
