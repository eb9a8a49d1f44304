"""Linear layers: packed int8 weights, float bias, fused relu."""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import fx

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.faults import objections
from qcompiler.backends.torch_engines.kernels.island import (
    Choice,
    Island,
    Refusal,
    Setting,
    Writer,
    input_levels,
)
from qcompiler.backends.torch_engines.kernels.weighted import bias_of, finish, operand, site_of
from qcompiler.backends.torch_engines.rules import (
    factors_objection,
)
from qcompiler.lowering.torch_fx.constants import (
    IntegerWeight,
    weight_of,
)


def linear(island: Island, setting: Setting) -> Choice:
    """MatMul or Gemm with a constant matrix, bias and relu."""
    core = island.core
    weight = _matrix(core)
    if isinstance(weight, Refusal):
        return weight
    levels = input_levels(core.inputs[0])
    bias = bias_of(island, weight.values.shape[0])
    if levels is None:
        return Refusal("its input is not quantized per tensor in 8 bits")
    if isinstance(bias, Refusal):
        return bias
    shape = operand(core, 0).shape
    if shape is not None and len(shape) < 2:
        return Refusal("its input has one dimension")
    site = site_of("linear", weight, setting, levels.zero_point)
    wrong = objections(site, setting.faults)
    if wrong:
        return Refusal("; ".join(reason for _, reason in wrong))

    def emit(writer: Writer) -> fx.Node:
        packed = adapter.pack_linear(weight.values, weight.scale, weight.zero_point, bias)
        held = writer.attribute("packed", packed)
        kernel = adapter.op("linear_relu" if island.relu else "linear")
        x = writer.integer(operand(core, 0))
        result = writer.call(kernel, x, held, island.output.scale, island.output.zero_point)
        result = with_leading_axes(writer, result, x, operand(core, 0), setting)
        return result if island.relu else finish(island, writer, result)

    return emit


def with_leading_axes(
    writer: Writer, result: fx.Node, x: fx.Node, data: ir.Value, setting: Setting
) -> fx.Node:
    """The result with the axes of the operand: oneDNN drops them where there are no rows (E4)."""
    flat = data.shape is not None and len(data.shape) == 2
    return result if setting.engine != "onednn" or flat else writer.call(_as_rows_of, result, x)


def _as_rows_of(result: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    if result.dim() == x.dim():
        return result
    return result.reshape([*x.shape[:-1], result.shape[-1]])


def has_constant_weight(core: ir.Node) -> bool:
    """Whether the second operand is an integer constant."""
    return weight_of(core.inputs[1]) is not None


def _matrix(core: ir.Node) -> IntegerWeight | Refusal:
    """The weight as [out, in] with scales along 0."""
    weight = weight_of(core.inputs[1])
    if weight is None or weight.values.ndim != 2:
        return Refusal("its weight is not a quantized constant matrix")
    if core.op_type == "Gemm":
        objection = factors_objection(core)
        if objection is not None:
            return Refusal(objection)
    if core.op_type == "MatMul" or not core.attributes.get_int("transB", 0):
        weight = weight.transposed()
    if weight.scale.ndim and weight.axis != 0:
        return Refusal("its weight has one scale per input channel")
    return weight
