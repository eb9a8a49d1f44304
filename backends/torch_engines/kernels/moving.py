"""Kernels that keep the operand's scale: pooling, data movement, clamping, resizing; and cat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch
from torch import fx
from torch.nn import functional

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.constants import array_of
from qcompiler.backends.torch_engines.kernels.elementwise import NOT_QUANTIZED
from qcompiler.backends.torch_engines.kernels.island import (
    Choice,
    Island,
    Refusal,
    Setting,
    Writer,
    input_levels,
)
from qcompiler.backends.torch_engines.kernels.weighted import finish
from qcompiler.backends.torch_engines.ops.window import window_pads

ANOTHER_SCALE = Refusal("its output has another scale than its input, which the kernel cannot give")

_AVERAGE: dict[int, Callable[..., Any]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}
_GLOBAL_AVERAGE: dict[int, Callable[..., Any]] = {
    3: functional.adaptive_avg_pool1d,
    4: functional.adaptive_avg_pool2d,
    5: functional.adaptive_avg_pool3d,
}
"""By rank of the operand."""


def _operand(node: ir.Node, index: int = 0) -> ir.Value:
    value = node.inputs[index]
    assert value is not None
    return value


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
    shape = _operand(island.core).shape
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
        return lambda writer: writer.call(torch.relu, writer.integer(_operand(core)))
    s, z = island.output.scale, island.output.zero_point
    bounds: list[float] = []
    for index, end in ((1, -z * s), (2, (255 - z) * s)):
        given = core.inputs[index] if index < len(core.inputs) else None
        array = array_of(given)
        if given is not None and (array is None or array.size != 1):
            return Refusal("its bounds are computed at run time")
        bounds.append(end if array is None else float(array.reshape(())))
    return lambda writer: writer.call(adapter.op("clamp"), writer.integer(_operand(core)), *bounds)


def average_pool(island: Island, setting: Setting) -> Choice:
    """AveragePool; the engine rounds the mean of the integers (docs/torch-engines.md)."""
    refused = same_levels(island)
    core = island.core
    if refused is not None:
        return refused
    kernel = list(core.attributes.get_ints("kernel_shape", ()))
    rank = len(kernel)
    strides = list(core.attributes.get_ints("strides", ())) or [1] * rank
    dilations = list(core.attributes.get_ints("dilations", ())) or [1] * rank
    auto_pad = core.attributes.get_string("auto_pad", "NOTSET")
    if auto_pad.startswith("SAME") or set(dilations) != {1}:
        return Refusal("AveragePool with auto_pad or dilations")
    given = list(core.attributes.get_ints("pads", ())) or None
    pads = window_pads(kernel, kernel, strides, dilations, given, auto_pad)
    if pads[:rank] != pads[rank:]:
        return Refusal("its pads differ at the two ends")
    if setting.engine == "qnnpack" and any(pads):
        return Refusal("qnnpack counts padding as zeros")
    ceil = bool(core.attributes.get_int("ceil_mode", 0))
    counted = bool(core.attributes.get_int("count_include_pad", 0))

    def emit(writer: Writer) -> fx.Node:
        x = writer.integer(_operand(core))
        args = (x, kernel, strides, pads[:rank], ceil, counted)
        return finish(island, writer, writer.call(_AVERAGE[rank], *args))

    return emit


def global_average(island: Island, setting: Setting) -> Choice:
    """GlobalAveragePool over one to three axes."""
    del setting
    refused = same_levels(island)
    x = _operand(island.core)
    if refused is not None:
        return refused
    kernel = _GLOBAL_AVERAGE.get(len(x.shape)) if x.shape is not None else None
    if kernel is None:
        return Refusal("the kernels have 1 to 3 spatial axes")

    def emit(writer: Writer) -> fx.Node:
        return finish(island, writer, writer.call(kernel, writer.integer(x), 1))

    return emit


def reduce_mean(island: Island, setting: Setting) -> Choice:
    """ReduceMean over the two last axes of NCHW, as exporters write global pooling."""
    refused = same_levels(island)
    core = island.core
    if refused is not None:
        return refused
    x = _operand(core)
    axes = array_of(core.inputs[1]) if len(core.inputs) > 1 else None
    if axes is None or x.shape is None or len(x.shape) != 4:
        return Refusal("the kernel averages the two last axes of NCHW")
    if sorted(int(axis) % 4 for axis in axes.reshape(-1)) != [2, 3]:
        return Refusal("the kernel averages the two last axes of NCHW")
    keep = bool(core.attributes.get_int("keepdims", 1))

    def emit(writer: Writer) -> fx.Node:
        pooled = writer.call(functional.adaptive_avg_pool2d, writer.integer(x), 1)
        if not keep:
            pooled = writer.call(torch.flatten, pooled, 1)
        return finish(island, writer, pooled)

    del setting
    return emit


def keeps_levels(node: ir.Node, engine: str) -> bool:
    """Whether a mover's quantized form is exact and there: constant pads, resizing by copies."""
    if node.op_type == "Resize":
        return (
            node.attributes.get_string("mode", "nearest") == "nearest"
            and node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
            == "asymmetric"
            and node.attributes.get_string("nearest_mode", "round_prefer_floor") == "floor"
        )
    if node.op_type == "Pad":
        given = node.inputs[2] if len(node.inputs) > 2 else None
        constant_mode = node.attributes.get_string("mode", "constant") == "constant"
        return constant_mode and (given is None or array_of(given) is not None)
    if node.op_type == "MaxPool" and engine == "qnnpack":
        return len(node.attributes.get_ints("kernel_shape", ())) < 3
    return True
