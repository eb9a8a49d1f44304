"""`lower_trainable`: a program as a module with parameters and gradients, fake-quantized or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import fx, nn

from qcompiler.decisions.placement import OperandPlacement, Placement, RegionPlacement
from qcompiler.decisions.roundings import GUARDED, NEAREST, Rounding
from qcompiler.errors import LoweringError
from qcompiler.ir.program import Program
from qcompiler.ir.walk import all_nodes, constant, is_op
from qcompiler.lowering.torch_fx.checks import check_ops
from qcompiler.lowering.torch_fx.constants import Array
from qcompiler.lowering.torch_fx.element_types import tensor_of
from qcompiler.lowering.torch_fx.fake_quantize import fake_quantizer
from qcompiler.lowering.torch_fx.lowering import lower_graph
from qcompiler.lowering.torch_fx.strategy import Builder, Strategy
from qcompiler.quantization.numerics import dequantize, fake_quantize
from qcompiler.quantization.qspace import S32_BIAS, QParams
from qcompiler.target.capability import Kernel

Reading = tuple[str, int]
"""Name of a node, and which of its inputs."""


def lower_trainable(program: Program, placement: Placement | None = None) -> nn.Module:
    """The program as a module that can be trained.

    Float initializers of one axis or more are parameters under their own names (a dot is a module
    boundary, so that `state_dict` of a module that was exported fits); scalars, running statistics
    of BatchNormalization and what is not finite (masks) are buffers. With a placement, the values,
    weights and biases that it quantizes pass through `FakeQuantize`.

    Args:
        program: A float program.
        placement: What `resolve` decided about this program or a copy of it.

    Returns:
        A module that takes the signature's inputs in order and gives a tuple of its outputs.

    Raises:
        LoweringError: Ops without a row, a region of another program, or a form that has no fixed
            grid (dynamic scales, recurrent layers).
    """
    check_ops(program.model)
    if placement is not None:
        _check_forms(program, placement)
    shared = Shared(Grids.of(placement))
    return lower_graph(program.graph, lambda graph: Trainable(shared)).built


@dataclass(frozen=True)
class Grids:
    """A placement by value and by reader.

    Attributes:
        written: Grid of values that everybody reads quantized.
        read: Grids that one reader sees its operand through, in order.
        starts: Values that an accuracy pass put in the place of stored ones, by reader.
    """

    written: dict[str, QParams] = field(default_factory=dict)
    read: dict[Reading, list[QParams]] = field(default_factory=dict)
    starts: dict[Reading, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, placement: Placement | None) -> Grids:
        found = cls()
        regions = list(placement.regions.values()) if placement is not None else []
        for each in regions:
            if each.written is not None:
                found.written[each.output] = each.written
        for each in regions:
            assert placement is not None
            for operand in each.activations:
                found._add_activation(operand, placement)
            for stored in each.constants:
                found._add_stored(stored.operand, stored.rounding)
            if each.weight is not None and each.rounding is not None:
                found._add_stored(each.weight, each.rounding)
            found._add_bias(each)
        return found

    def _add_activation(self, operand: OperandPlacement, placement: Placement) -> None:
        """As `insert-qdq` writes it: the value's own grid, then that of a reader that differs."""
        if operand.params is None:
            return
        dtype = operand.params.space.dtype
        own = self.written.get(operand.value)
        grids = []
        if own is None or own.space.dtype is not dtype:
            grids.append(placement.values[operand.value, dtype.name])
        if operand.requantized:
            grids.append(operand.params)
        if grids:
            self.read[operand.node, operand.index] = grids

    def _add_stored(self, operand: OperandPlacement, rounding: Rounding) -> None:
        """Integers that are not the nearest ones start from the values they stand for."""
        place = (operand.node, operand.index)
        self.read[place] = [rounding.params]
        if rounding.how not in (NEAREST, GUARDED):
            self.starts[place] = dequantize(rounding.integers, rounding.params)

    def _add_bias(self, region: RegionPlacement) -> None:
        bias = region.bias
        if bias is None:
            return
        place, found = (bias.node, bias.index), region.bias_rounding
        if region.bias_value is not None:
            self.starts[place] = region.bias_value
        if found is not None:
            zero = np.zeros(found.scale.shape, np.int64)
            axis = found.axis if found.scale.ndim else None
            params = QParams(found.scale, zero, S32_BIAS, axis)
            self.read[place] = [params]
            self.starts[place] = dequantize(found.integers, params)


@dataclass(frozen=True)
class Shared:
    """What the strategies of a graph and of its bodies share.

    Attributes:
        grids: The placement.
        operands: Modules that give an operand in the place of the stored one, by reader.
        parameters: By value; one that several bodies read is one parameter.
    """

    grids: Grids
    operands: Mapping[Reading, nn.Module] = field(default_factory=dict)
    parameters: dict[ir.Value, nn.Parameter] = field(default_factory=dict)


class Trainable(Strategy):
    """Constants as parameters, quantized values through fake quantization."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._seen: dict[tuple[Any, ...], fx.Node] = {}

    def fold(self, value: ir.Value | None) -> Array | None:
        """Stored values only: what is computed from a parameter has a gradient."""
        return constant(value)

    def constant(self, value: ir.Value, array: Array, builder: Builder) -> fx.Node:
        if not is_trained(value, array):
            return super().constant(value, array, builder)
        if value not in self._shared.parameters:
            starts = self._starts(value, array)
            first = starts[0] if len({each.tobytes() for each in starts}) == 1 else array
            held = tensor_of(np.array(first, order="C", copy=True))
            self._shared.parameters[value] = nn.Parameter(held)
        return builder.named(value.name or "parameter", self._shared.parameters[value])

    def computed(self, value: ir.Value, result: fx.Node, builder: Builder) -> fx.Node:
        params = self._shared.grids.written.get(value.name or "")
        return result if params is None else self.on_grid(result, params, (), value, builder)

    def argument(self, node: ir.Node, index: int, given: fx.Node, builder: Builder) -> fx.Node:
        place, value = (node.name or "", index), node.inputs[index]
        assert value is not None
        held = self._shared.operands.get(place)
        if held is not None:
            return self._once(("operand", id(held)), value, held, builder)
        array = self.fold(value)
        if array is not None and value in self._shared.parameters:
            given = self._started(value, self._start(place, array), given, builder)
        shape = () if array is None else array.shape
        for params in self._shared.grids.read.get(place, ()):
            given = self.on_grid(given, params, shape, value, builder)
        return given

    def _once(
        self, key: tuple[Any, ...], value: ir.Value, held: nn.Module, builder: Builder
    ) -> fx.Node:
        """A call of a module that takes nothing; its readers share it."""
        if key not in self._seen:
            self._seen[key] = builder.module(f"{value.name}_given", held)
        return self._seen[key]

    def grid(self, params: QParams, shape: tuple[int, ...]) -> nn.Module:
        """What brings a value of a shape, () for one that is computed, onto a grid."""
        return fake_quantizer(params, shape)

    def _starts(self, value: ir.Value, array: Array) -> list[Array]:
        """What every reader starts from."""
        return [self._start((use.node.name or "", use.idx), array) for use in value.uses()]

    def _start(self, place: Reading, array: Array) -> Array:
        """The stored value, unless an accuracy pass chose another one or other integers."""
        start = self._shared.grids.starts.get(place)
        grid = self._shared.grids.read.get(place)
        if start is None or (grid and np.array_equal(fake_quantize(array, grid[-1]), start)):
            return array
        return start.astype(array.dtype).reshape(array.shape)

    def _started(self, value: ir.Value, start: Array, given: fx.Node, builder: Builder) -> fx.Node:
        """A parameter of this reader's own where others start from another value."""
        shared = self._shared.parameters[value].detach().numpy()
        if np.array_equal(shared, start):
            return given
        key = (value, start.tobytes())
        if key not in self._seen:
            held = nn.Parameter(torch.from_numpy(np.array(start)))
            self._seen[key] = builder.named(value.name or "parameter", held)
        return self._seen[key]

    def on_grid(
        self, given: fx.Node, params: QParams, shape: tuple[int, ...], value: ir.Value,
        builder: Builder,
    ) -> fx.Node:  # fmt: skip
        """Readers with equal parameters share a call."""
        levels = b"" if params.levels is None else params.levels.tobytes()
        sizes = (params.scale.tobytes(), params.zero_point.tobytes(), levels)
        key = (given, params.space, params.axis, *sizes)
        if key not in self._seen:
            stem = f"{value.name}_fake_quantize"
            self._seen[key] = builder.module(stem, self.grid(params, shape), given)
        return self._seen[key]


def is_trained(value: ir.Value, array: Array) -> bool:
    """Whether a constant is a parameter: float, of one axis or more, no running statistic."""
    readers = [(use.node, use.idx) for use in value.uses()]
    statistic = any(is_op(node, "BatchNormalization") and idx >= 3 for node, idx in readers)
    stored = value.producer() is None
    floating = value.dtype is not None and value.dtype.is_floating_point()
    if not (stored and floating and array.ndim) or statistic:
        return False
    return bool(np.isfinite(array.astype(np.float32)).all())


def _check_forms(program: Program, placement: Placement) -> None:
    nodes = {node.name or "": node for node in all_nodes(program.model)}
    for region in placement.regions.values():
        if region.nodes[0] not in nodes:
            raise LoweringError(f"the region '{region.key}' is not in this program")
        if region.form.kernel is Kernel.DYNAMIC or _is_rounded_inside(region, nodes):
            raise LoweringError(
                f"'{region.key}' has no fixed grid as {region.form.precision}",
                fix="give the region another precision, float32 among them",
            )


def _is_rounded_inside(region: RegionPlacement, nodes: Mapping[str, ir.Node]) -> bool:
    """Whether the weight is a float one whose integers only the target's own passes choose."""
    weight = region.weight
    if weight is None or region.form.weight is None or region.rounding is not None:
        return False
    return constant(nodes[weight.node].inputs[weight.index]) is not None
