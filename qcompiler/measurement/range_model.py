"""`RangeModel`: a float model with the quantizations of a plan, whose ranges are inputs.

Every value that the plan quantizes is rounded where the target would round it; scales and zero
points come in by two extra inputs, weights stand as their integers say. So the loss of any choice
of ranges is one run, without building a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.decisions.placement import OperandPlacement, Placement, RegionPlacement, ValueKey
from qcompiler.execution.packing import PackedModel, pack
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import Usage, all_nodes, uses, values_by_name
from qcompiler.quantization.numerics import dequantize
from qcompiler.quantization.qspace import QParams

SCALES = "qcompiler.scales"
"""Extra input, float32 [groups]."""
ZEROS = "qcompiler.zeros"
"""Extra input, int32 [groups]."""


@dataclass(frozen=True, eq=False)
class RangeModel:
    """The model with its groups. Picklable.

    Attributes:
        packed: The model with the inputs `SCALES` and `ZEROS`.
        groups: The values of every group, which share scale and zero point, in graph order.
    """

    packed: PackedModel
    groups: tuple[tuple[ValueKey, ...], ...]

    def parameters(self, values: Mapping[ValueKey, QParams]) -> tuple[QParams, ...]:
        """The parameters of every group under the decisions of another set of ranges."""
        return tuple(values[members[0]] for members in self.groups)


def range_model(program: Program, placement: Placement) -> RangeModel:
    """Builds the model of a calibrated program; the program is not changed.

    Args:
        program: The float program.
        placement: What `resolve` decided for a plan: which values are quantized, and where.
    """
    return _Builder(program, placement).build()


def group_of_values(placement: Placement) -> dict[ValueKey, int]:
    """The number of every value's group: values that were given one object of parameters."""
    numbers: dict[int, int] = {}
    integers = {key: params for key, params in placement.values.items() if _is_integer(params)}
    return {key: numbers.setdefault(id(params), len(numbers)) for key, params in integers.items()}


def _is_integer(params: QParams) -> bool:
    return not params.space.is_float and params.axis is None and np.ndim(params.scale) == 0


@dataclass(eq=False)
class _Builder:
    source: Program
    placement: Placement
    _parts: dict[tuple[int, ir.DataType], tuple[ir.Value, ir.Value]] = field(default_factory=dict)

    def build(self) -> RangeModel:
        program = self.source.clone()
        self._graph = program.graph
        self._rewriter = Rewriter(program)
        self._first = next(iter(program.graph), None)
        self._values = values_by_name(program.model)
        self._nodes = {node.name or "": node for node in all_nodes(program.model)}
        self._group = group_of_values(self.placement)
        count = max(self._group.values(), default=-1) + 1
        self._scales = self._input(SCALES, ir.DataType.FLOAT, count)
        self._zeros = self._input(ZEROS, ir.DataType.INT32, count)
        for region in self.placement.regions.values():
            self._weight(region)
        written = {
            (each.output, each.written.space.dtype.name): each.written
            for each in self.placement.regions.values()
            if each.written is not None
        }
        readers = self._readers()
        for key, params in self.placement.values.items():
            if key in self._group:
                self._round(key, params, key in written, readers.get(key, []))
        self._rewriter.drop_unused_constants()
        members: list[list[ValueKey]] = [[] for _ in range(count)]
        for key, number in self._group.items():
            members[number].append(key)
        return RangeModel(pack(program.model), tuple(map(tuple, members)))

    def _input(self, name: str, dtype: ir.DataType, count: int) -> ir.Value:
        value = ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape([count]))
        self._graph.inputs.append(value)
        return value

    def _readers(self) -> dict[ValueKey, list[Usage]]:
        """Operands that are read as integers, by the value whose group decides."""
        found: dict[ValueKey, list[Usage]] = {}
        for region in self.placement.regions.values():
            for operand in region.activations:
                key = _deciding(operand, region)
                node = self._nodes.get(operand.node)
                if key is not None and node is not None:
                    found.setdefault(key, []).append(Usage(node, operand.index))
        return found

    def _round(self, key: ValueKey, params: QParams, written: bool, readers: list[Usage]) -> None:
        """Puts QuantizeLinear and DequantizeLinear in front of those who read integers."""
        value = self._values.get(key[0])
        if value is not None and written:
            apart = [use for use in readers if use.node.inputs[use.idx] is not value]
            self._insert(key, params, value, list(uses(value)), True)
            readers = apart
        by_value: dict[ir.Value, list[Usage]] = {}
        for use in readers:
            operand = use.node.inputs[use.idx]
            assert operand is not None
            by_value.setdefault(operand, []).append(use)
        for operand, targets in by_value.items():
            self._insert(key, params, operand, targets, False)

    def _insert(
        self, key: ValueKey, params: QParams, value: ir.Value, targets: list[Usage], outputs: bool
    ) -> None:
        scale, zero = self._parameters(self._group[key], params.space.dtype)
        producer, graph = value.producer(), value.graph
        if producer is None and graph in (None, self._graph):
            producer = zero.producer()
        common: dict[str, Any] = {"graph": graph, "shape": value.shape}
        quantized = self._rewriter.insert(
            "QuantizeLinear", [value, scale, zero], after=producer, dtype=zero.dtype, **common
        )
        restored = self._rewriter.insert(
            "DequantizeLinear",
            [quantized.outputs[0], scale, zero],
            after=quantized,
            dtype=ir.DataType.FLOAT,
            shape=value.shape,
        )
        self._rewriter.replace_uses(value, restored.outputs[0], only=targets)
        if outputs and value.is_graph_output():
            self._rewriter.replace_uses(value, restored.outputs[0], keep=[quantized])

    def _parameters(self, group: int, dtype: ir.DataType) -> tuple[ir.Value, ir.Value]:
        """Scale and zero point of a group, taken out of the inputs at the start of the graph."""
        if (group, dtype) not in self._parts:
            index = self._rewriter.constant(np.asarray(group, np.int64), "range_index")
            start: dict[str, Any] = {"before": self._first}
            scale = self._rewriter.insert(
                "Gather", [self._scales, index], dtype=ir.DataType.FLOAT, **start
            )
            zero = self._rewriter.insert(
                "Gather", [self._zeros, index], dtype=ir.DataType.INT32, **start
            )
            cast = self._rewriter.insert(
                "Cast", [zero.outputs[0]], attributes={"to": dtype}, dtype=dtype, **start
            )
            self._parts[group, dtype] = scale.outputs[0], cast.outputs[0]
        return self._parts[group, dtype]

    def _weight(self, region: RegionPlacement) -> None:
        """The weight as its integers stand for it."""
        weight, rounding = region.weight, region.rounding
        node = None if weight is None else self._nodes.get(weight.node)
        if weight is None or rounding is None or node is None:
            return
        restored = np.asarray(dequantize(rounding.integers, rounding.params), np.float32)
        constant = self._rewriter.constant(restored, "range_weight")
        self._rewriter.set_input(node, weight.index, constant)


def _deciding(operand: OperandPlacement, region: RegionPlacement) -> ValueKey | None:
    """The value whose group an operand's parameters are; None for one read in float."""
    if operand.params is None:
        return None
    name = region.output if operand.requantized else operand.value
    return name, operand.params.space.dtype.name


def scales_and_zeros(
    parameters: tuple[QParams, ...],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """The two extra inputs."""
    scales = np.asarray([float(each.scale) for each in parameters], np.float32)
    return scales, np.asarray([int(each.zero_point) for each in parameters], np.int32)
