"""Quantized regions of a placed program as calls of the integer reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from qcompiler.execution.integer.operand import Array, QuantizedOperand
from qcompiler.execution.integer.reference import KERNELS, reference
from qcompiler.ir.optraits import traits
from qcompiler.ir.qdq import params_of
from qcompiler.ir.regions import Operand, Region, stored_data
from qcompiler.ir.walk import constant, is_op, scalar, stored_array, uses
from qcompiler.quantization.biases import bias_scale
from qcompiler.quantization.numerics import quantize
from qcompiler.quantization.qspace import QParams, QSpace
from qcompiler.target.arithmetic import Arithmetic

_BYTES = frozenset({ir.DataType.INT8, ir.DataType.UINT8})


@dataclass(frozen=True, eq=False)
class Port:
    """A value of integers at a region's edge, and what the integers stand for."""

    value: ir.Value
    params: QParams


@dataclass(frozen=True, eq=False)
class IntegerRegion:
    """A region between DequantizeLinear and QuantizeLinear, ready for the reference.

    Attributes:
        region: The region in the placed program.
        inputs: Its quantized data in operand order: computed ones, and stored ones with integers.
        weight: Its quantized weight, if it has one.
        bias: int32 or float32 bias.
        output: Where its integers leave; None when it writes float.
        rules: Of the engine.
    """

    region: Region
    inputs: tuple[Port | QuantizedOperand, ...]
    weight: QuantizedOperand | None
    bias: Array | None
    output: Port | None
    rules: Arithmetic = field(default_factory=Arithmetic)

    @property
    def result(self) -> ir.Value:
        """What is compared: integers, or the float output."""
        return self.region.output if self.output is None else self.output.value

    @property
    def values(self) -> tuple[ir.Value, ...]:
        """Everything that the comparison reads from the engine's run."""
        return (*(port.value for port in self.ports), self.result)

    @property
    def ports(self) -> tuple[Port, ...]:
        """The data that is computed at run time."""
        return tuple(each for each in self.inputs if isinstance(each, Port))

    def compute(self, arrays: Sequence[Array]) -> Array:
        """The reference's result for the integers of `ports`.

        Raises:
            ConfigurationError: The reference has no kernel for these attributes.
        """
        anchor = self.region.anchor
        computed = iter([*map(QuantizedOperand, arrays, [p.params for p in self.ports])])
        inputs = [next(computed) if isinstance(each, Port) else each for each in self.inputs]
        result = reference(
            anchor.op_type,
            attributes_of(anchor),
            inputs,
            self.weight,
            self.bias,
            None if self.output is None else self.output.params,
            relu=is_op(self.region.activation_node, "Relu"),
            kernels={**KERNELS, **self.rules.kernels},
        )
        clips = [node for node in self.region.nodes if is_op(node, "Clip")]
        return self._cut(result, clips[-1]) if clips else result

    def _cut(self, result: Array, clip: ir.Node) -> Array:
        """The bounds of a Clip, as integers."""
        if self.output is None:
            return result
        ends = [scalar(value) if value is not None else None for value in clip.inputs[1:3]]
        params = self.output.params
        limits = [
            (None if end is None else quantize(np.asarray(end, np.float32), params)) for end in ends
        ]
        low, high, *_ = [*limits, None, None]
        floor = result if low is None else np.maximum(result, low)
        return floor if high is None else np.minimum(floor, high)

    def float_step(self) -> Array:
        """One accumulator step of a float result, in a shape that broadcasts with it."""
        step: Array = self.inputs[0].params.scale
        for params in [port.params for port in self.inputs[1:]] + (
            [self.weight.params] if self.weight is not None else []
        ):
            step = bias_scale(step, params.scale)
        spatial = 0
        if self.region.kind in ("Conv", "ConvTranspose") and self.weight is not None:
            spatial = self.weight.data.ndim - 2
        return step.reshape((-1,) + (1,) * spatial) if step.ndim else step


def extract(region: Region, rules: Arithmetic | None = None) -> IntegerRegion | str:
    """The region as the reference takes it, or the reason why it cannot be checked."""
    rules = rules or Arithmetic()
    if not region.activations:
        return "it looks up rows of a table that is stored in integers"
    if region.kind not in KERNELS and region.kind not in rules.kernels:
        if traits(region.anchor).moves_data:
            return "it only moves integers"
        return f"the integer reference has no {region.kind}"
    last = region.activation_node
    if last is not None and not is_op(last, "Relu") and not rules.clips:
        return f"{last.op_type} was not absorbed by the output's saturation"
    if _is_integer_mover(region):
        return _mover(region)
    inputs = _with_stored(region, [_input(operand) for operand in region.activations])
    if any(each is None for each in inputs):
        return "it reads float"
    weight = None if region.weight is None else _weight(region.weight)
    if region.weight is not None and weight is None:
        return "its weight is not stored as integers of one scale per tensor or channel"
    return IntegerRegion(
        region,
        tuple(each for each in inputs if each is not None),
        weight,
        None if region.bias is None else _bias(region.bias),
        _output(region.output),
        rules,
    )


def attributes_of(node: ir.Node) -> Mapping[str, Any]:
    """ONNX attributes as Python values."""
    return {attribute.name: attribute.value for attribute in node.attributes.values()}


def _with_stored(
    region: Region, computed: Sequence[Port | None]
) -> list[Port | QuantizedOperand | None]:
    """The computed data and the stored one, in the order of the anchor's operands."""
    stored = {operand.index: _weight(operand) for operand in stored_data(region.anchor)}
    if not stored:
        return list(computed)
    found: dict[int, Port | QuantizedOperand | None] = dict(stored)
    found |= {o.index: port for o, port in zip(region.activations, computed, strict=True)}
    return [found[index] for index in sorted(found)]


def _input(operand: Operand) -> Port | None:
    node = operand.value.producer()
    if node is None or not is_op(node, "DequantizeLinear"):
        return None
    params = params_of(node)
    source = node.inputs[0]
    if params is None or source is None or params.axis is not None or source.dtype not in _BYTES:
        return None
    return Port(source, params)


def _output(value: ir.Value) -> Port | None:
    """The integers behind a value that only one QuantizeLinear reads."""
    readers = uses(value)
    if len(readers) != 1 or value.is_graph_output():
        return None
    node = readers[0].node
    params = params_of(node) if is_op(node, "QuantizeLinear") else None
    return None if params is None else Port(node.outputs[0], params)


def _weight(operand: Operand) -> QuantizedOperand | None:
    node = operand.value.producer()
    if node is None or not is_op(node, "DequantizeLinear"):
        return None
    data, params = stored_array(node.inputs[0]), params_of(node)
    return None if data is None or params is None else QuantizedOperand(data, params)


def _bias(operand: Operand) -> Array | None:
    node = operand.value.producer()
    stored = node.inputs[0] if is_op(node, "DequantizeLinear") and node else operand.value
    return constant(stored)


def _is_integer_mover(region: Region) -> bool:
    kinds = {operand.value.dtype for operand in region.activations} | {region.output.dtype}
    return kinds <= _BYTES


def _mover(region: Region) -> IntegerRegion:
    """Selecting integers depends on no scale: any does."""
    dtype = region.output.dtype
    assert dtype is not None
    params = QParams(np.ones((), np.float32), np.zeros((), np.int64), QSpace(dtype, False))
    ports = tuple(Port(operand.value, params) for operand in region.activations)
    return IntegerRegion(region, ports, None, None, Port(region.output, params))
