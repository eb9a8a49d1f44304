"""Arithmetic, activation functions, softmax and normalisation on integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import fx
from torch.nn import functional

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.kernels.island import (
    Choice,
    Island,
    Refusal,
    Setting,
    Writer,
    input_levels,
)
from qcompiler.backends.torch_engines.kernels.weighted import finish, operand
from qcompiler.backends.torch_engines.rules import sixth_objection
from qcompiler.lowering.torch_fx.constants import Levels, array_of

NOT_QUANTIZED = Refusal("its input is not quantized per tensor in 8 bits")
_HALF_UNIT = Levels(1 / 128, 128)
_UNIT = Levels(1 / 256, 0)


def binary(name: str) -> Callable[[Island, Setting], Choice]:
    """Add or Mul of two quantized operands, with fused relu."""

    def choose(island: Island, setting: Setting) -> Choice:
        del setting
        if any(input_levels(value) is None for value in island.core.inputs):
            return Refusal("an operand is not quantized per tensor in 8 bits")

        def emit(writer: Writer) -> fx.Node:
            order = (1, 0) if name != "matmul" and _second_is_wider(island.core) else (0, 1)
            a, b = (writer.integer(operand(island.core, i)) for i in order)
            kernel = adapter.op(f"{name}_relu" if island.relu else name)
            result = writer.call(kernel, a, b, island.output.scale, island.output.zero_point)
            return result if island.relu else finish(island, writer, result)

        return emit

    return choose


def _second_is_wider(node: ir.Node) -> bool:
    """Whether the first operand is repeated to the shape of the second one.

    The kernels allocate the result in the shape of the first operand, and resize it with a warning
    where that is not the shape of the result.
    """
    first, second = (operand(node, index).shape for index in (0, 1))
    if first is None or second is None or len(first) > len(second):
        return False
    padded = [1] * (len(second) - len(first)) + list(first)
    return padded != list(second) and all(
        one in (1, other) for one, other in zip(padded, second, strict=True)
    )


def matmul(island: Island, setting: Setting) -> Choice:
    """Product of two computed matrices."""
    return binary("matmul")(_without_relu(island), setting)


def _without_relu(island: Island) -> Island:
    """matmul has no fused relu; a bound of 0 is cut behind it."""
    return _Plain(
        island.core, island.nodes, island.quantize, island.output, island.low, island.high
    )


class _Plain(Island):
    @property
    def relu(self) -> bool:
        return False


def unary(name: str, **attributes: tuple[str, float]) -> Callable[[Island, Setting], Choice]:
    """A kernel `quantized::name(x, scale, zero_point, ...)`; attributes map ONNX to keywords."""

    def choose(island: Island, setting: Setting) -> Choice:
        del setting
        if input_levels(island.core.inputs[0]) is None:
            return NOT_QUANTIZED
        extra = {
            keyword: island.core.attributes.get_float(onnx_name, default)
            for keyword, (onnx_name, default) in attributes.items()
        }

        def emit(writer: Writer) -> fx.Node:
            x = writer.integer(operand(island.core, 0))
            levels = {
                "output_scale": island.output.scale,
                "output_zero_point": island.output.zero_point,
            }
            return finish(island, writer, writer.call(adapter.op(name), x, **extra, **levels))

        return emit

    return choose


def sigmoid(island: Island, setting: Setting) -> Choice:
    """Sigmoid; qnnpack writes the levels 1/256 and 0 only."""
    if setting.engine == "qnnpack" and not island.output.same_as(_UNIT):
        return Refusal("qnnpack writes scale 1/256 and zero point 0 only")
    return unary("sigmoid")(island, setting)


def leaky_relu(island: Island, setting: Setting) -> Choice:
    """LeakyRelu."""
    del setting
    if input_levels(island.core.inputs[0]) is None:
        return NOT_QUANTIZED
    slope = island.core.attributes.get_float("alpha", 0.01)

    def emit(writer: Writer) -> fx.Node:
        x = writer.integer(operand(island.core, 0))
        kernel = adapter.op("leaky_relu")
        args = (x, slope, False, island.output.scale, island.output.zero_point)
        return finish(island, writer, writer.call(kernel, *args))

    return emit


def softmax(island: Island, setting: Setting) -> Choice:
    """Softmax over any axis."""
    del setting
    x = operand(island.core, 0)
    if input_levels(x) is None:
        return NOT_QUANTIZED
    axis = island.core.attributes.get_int("axis", -1)
    if axis < 0 and x.shape is None:
        return Refusal("its rank is not known")
    axis = axis % len(x.shape) if x.shape is not None else axis

    def emit(writer: Writer) -> fx.Node:
        args = (writer.integer(x), axis, island.output.scale, island.output.zero_point)
        return finish(island, writer, writer.call(adapter.op("softmax"), *args))

    return emit


def fixed(
    function: Callable[..., Any],
    output: Levels,
    rule: Callable[[ir.Node], str | None] = lambda _: None,
) -> Callable[[Island, Setting], Choice]:
    """A torch function whose quantized form has these output levels and no others."""

    def choose(island: Island, setting: Setting) -> Choice:
        del setting
        if input_levels(island.core.inputs[0]) is None:
            return NOT_QUANTIZED
        if not island.output.same_as(output):
            return Refusal(
                f"the kernel writes scale {output.scale} and zero point {output.zero_point} only"
            )
        objection = rule(island.core)
        if objection is not None:
            return Refusal(objection)

        def emit(writer: Writer) -> fx.Node:
            x = writer.integer(operand(island.core, 0))
            return finish(island, writer, writer.call(function, x))

        return emit

    return choose


tanh = fixed(torch.tanh, _HALF_UNIT)
hard_sigmoid = fixed(functional.hardsigmoid, _UNIT, sixth_objection)


def normalization(kind: str) -> Callable[[Island, Setting], Choice]:
    """layer_norm, group_norm or instance_norm with constant float scale and bias."""

    def choose(island: Island, setting: Setting) -> Choice:
        del setting
        core = island.core
        if input_levels(core.inputs[0]) is None:
            return NOT_QUANTIZED
        scale = array_of(core.inputs[1])
        given = core.inputs[2] if len(core.inputs) > 2 else None
        bias = array_of(given)
        if scale is None or (given is not None and bias is None):
            return Refusal("its scale or bias is computed at run time")
        if bias is None:
            bias = np.zeros_like(scale)
        if kind == "layer_norm" and scale.ndim != _normalized_rank(core):
            return Refusal("its scale is broadcast")

        def emit(writer: Writer) -> fx.Node:
            x = writer.integer(operand(core, 0))
            weight = writer.attribute("weight", torch.from_numpy(np.array(scale, np.float32)))
            offset = writer.attribute("bias", torch.from_numpy(np.array(bias, np.float32)))
            forms: dict[str, list[Any]] = {
                "layer_norm": [list(scale.shape)],
                "group_norm": [core.attributes.get_int("num_groups", 1)],
                "instance_norm": [],
            }
            epsilon = core.attributes.get_float("epsilon", 1e-5)
            levels = (island.output.scale, island.output.zero_point)
            kernel = adapter.op(kind)
            result = writer.call(kernel, x, *forms[kind], weight, offset, epsilon, *levels)
            return finish(island, writer, result)

        return emit

    return choose


def _normalized_rank(core: ir.Node) -> int:
    axis = core.attributes.get_int("axis", -1)
    shape = operand(core, 0).shape
    if axis < 0:
        return -axis
    return len(shape) - axis if shape is not None else -1
