"""Data movement, clamping and resizing, which keep the operand's scale; averages and cat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch
from torch import fx

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.kernels.elementwise import NOT_QUANTIZED
from qcompiler.backends.torch_engines.kernels.island import (
    Choice,
    Island,
    Refusal,
    Setting,
    Writer,
    input_levels,
)
from qcompiler.backends.torch_engines.kernels.weighted import finish, operand
from qcompiler.backends.torch_engines.rules import (
    bounds_objection,
    max_pool_objection,
    mean_objection,
    pad_objection,
    planar_objection,
    resize_objection,
)
from qcompiler.lowering.torch_fx.constants import array_of

ANOTHER_SCALE = Refusal("its output has another scale than its input, which the kernel cannot give")


def same_levels(island: Island) -> Refusal | None:
    """Why the island does not keep its operand's levels, if so."""
    levels = input_levels(island.core.inputs[0])
    if levels is None:
        return NOT_QUANTIZED
    return None if levels.same_as(island.output) else ANOTHER_SCALE


def concat(island: Island, setting: Setting) -> Choice:
    """Concat of quantized operands with any scales."""
    del setting
    if any(input_levels(value) is None for value in island.core.inputs):
        return Refusal("an operand is not quantized per tensor in 8 bits")
    axis = island.core.attributes.get_int("axis", 0)
    shape = operand(island.core, 0).shape
    if axis < 0 and shape is None:
        return Refusal("its rank is not known")
    axis = axis % len(shape) if shape is not None else axis

    def emit(writer: Writer) -> fx.Node:
        parts = [writer.integer(v) for v in island.core.inputs if v is not None]
        kernel = adapter.op("cat_relu" if island.relu else "cat")
        result = writer.call(kernel, parts, axis, island.output.scale, island.output.zero_point)
        return result if island.relu else finish(island, writer, result)

    return emit


def clamp(island: Island, setting: Setting) -> Choice:
    """Relu or Clip on its own, scale kept."""
    del setting
    refused = same_levels(island)
    core = island.core
    if refused is not None:
        return refused
    if core.op_type == "Relu":
        return lambda writer: writer.call(torch.relu, writer.integer(operand(core, 0)))
    objection = bounds_objection(core)
    if objection is not None:
        return Refusal(objection)
    s, z = island.output.scale, island.output.zero_point
    bounds: list[float] = []
    for index, end in ((1, -z * s), (2, (255 - z) * s)):
        given = core.inputs[index] if index < len(core.inputs) else None
        array = array_of(given)
        bounds.append(end if array is None else float(array.reshape(())))
    low, high = bounds
    return lambda writer: writer.clamped(writer.integer(operand(core, 0)), low, high)


def averaged(function: Callable[..., Any]) -> Callable[[Island, Setting], Choice]:
    """A mean with output levels of its own; torch's kernels keep the operand's (`averaging`)."""

    def choose(island: Island, setting: Setting) -> Choice:
        del setting
        core = island.core
        if input_levels(core.inputs[0]) is None:
            return NOT_QUANTIZED
        options = {name: _plain(each) for name, each in core.attributes.items()}
        if core.op_type == "ReduceMean":
            objection = mean_objection(core)
            if objection is not None:
                return Refusal(objection)
            axes = array_of(core.inputs[1])
            assert axes is not None
            options["axes"] = axes.reshape(-1).tolist()

        def emit(writer: Writer) -> fx.Node:
            levels = (island.output.scale, island.output.zero_point)
            result = writer.call(function, writer.integer(operand(core, 0)), *levels, **options)
            return finish(island, writer, result)

        return emit

    return choose


def _plain(attribute: ir.Attr) -> Any:
    lists = (ir.AttributeType.INTS, ir.AttributeType.FLOATS)
    return list(attribute.value) if attribute.type in lists else attribute.value


_MOVER_RULES = {"Resize": resize_objection, "Pad": pad_objection, "MaxPool": max_pool_objection}


def keeps_levels(node: ir.Node, engine: str) -> bool:
    """Whether a mover's quantized form is exact and there."""
    rule = _MOVER_RULES.get(node.op_type)
    if rule is not None and rule(node) is not None:
        return False
    flat = node.op_type != "MaxPool" or engine != "qnnpack"
    return flat or planar_objection(node) is None
