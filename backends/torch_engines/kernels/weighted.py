"""What convolutions and linear layers share: bounds, biases and the legality of a weight."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from torch import fx

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.faults import Site
from qcompiler.backends.torch_engines.kernels.island import (
    Island,
    Refusal,
    Setting,
    Writer,
)
from qcompiler.backends.torch_engines.rules import (
    bias_objection,
)
from qcompiler.lowering.torch_fx.constants import (
    Array,
    IntegerWeight,
    array_of,
)


def finish(island: Island, writer: Writer, result: fx.Node) -> fx.Node:
    """Cuts the result to the activation's bounds, where saturation does not."""
    if not island.bounded:
        return result
    low, high = island.bounds()
    return writer.clamped(result, low, high)


def site_of(
    kind: str,
    weight: IntegerWeight,
    setting: Setting,
    x_zero_point: int,
    window: adapter.Window | None = None,
) -> Site:
    """What the legality rules are asked about."""
    return Site(
        kind,
        setting.engine,
        weight.values,
        groups=window.groups if window else 1,
        x_zero_point=x_zero_point,
        per_channel=weight.scale.ndim > 0,
        zero_weights=not np.any(weight.zero_point),
        output_padding=bool(window and any(window.output_padding)),
        vnni=setting.vnni,
    )


def bias_of(island: Island, channels: int) -> Array | Refusal | None:
    """The constant bias, float32 [channels]; None where there is none."""
    core = island.core
    value = island.bias_add
    if value is None and core.op_type != "MatMul" and len(core.inputs) > 2:
        value = core.inputs[2]
    if value is None:
        return None
    objection = bias_objection(value, channels)
    array = array_of(value)
    if objection is not None or array is None:
        return Refusal(objection or "the bias is computed at run time")
    return np.broadcast_to(array.reshape(-1).astype(np.float32), (channels,))


def operand(node: ir.Node, index: int) -> ir.Value:
    """An operand that the op always has."""
    value = node.inputs[index]
    assert value is not None
    return value
