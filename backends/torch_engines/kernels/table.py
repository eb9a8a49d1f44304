"""`KERNELS`: how an island of each operator becomes an integer call, one row per operator."""

from __future__ import annotations

from collections.abc import Callable

from qcompiler.backends.torch_engines.kernels import (
    averaging,
    convolution,
    elementwise,
    linear,
    moving,
)
from qcompiler.backends.torch_engines.kernels.island import Choice, Island, Setting

Row = Callable[[Island, Setting], Choice]

KERNELS: dict[str, Row] = {
    "Conv": convolution.conv,
    "ConvTranspose": convolution.conv_transpose,
    "Gemm": linear.linear,
    "Add": elementwise.binary("add"),
    "Mul": elementwise.binary("mul"),
    "Sigmoid": elementwise.sigmoid,
    "HardSwish": elementwise.unary("hardswish"),
    "Elu": elementwise.unary("elu", alpha=("alpha", 1.0)),
    "Celu": elementwise.unary("celu", alpha=("alpha", 1.0)),
    "LeakyRelu": elementwise.leaky_relu,
    "Softmax": elementwise.softmax,
    "Tanh": elementwise.tanh,
    "HardSigmoid": elementwise.hard_sigmoid,
    "LayerNormalization": elementwise.normalization("layer_norm"),
    "GroupNormalization": elementwise.normalization("group_norm"),
    "InstanceNormalization": elementwise.normalization("instance_norm"),
    "Concat": moving.concat,
    "Relu": moving.clamp,
    "Clip": moving.clamp,
    "AveragePool": moving.averaged(averaging.average_pool),
    "GlobalAveragePool": moving.averaged(averaging.global_average),
    "ReduceMean": moving.averaged(averaging.reduce_mean),
}

MOVERS: frozenset[str] = frozenset(
    {
        "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile", "Split",
        "Slice", "Pad", "DepthToSpace", "SpaceToDepth", "Gather", "Identity", "MaxPool", "Concat",
        "Resize",
    }
)  # fmt: skip
"""Ops whose torch functions take quantized tensors as they are and keep scale and zero point."""


def _matmul(island: Island, setting: Setting) -> Choice:
    """A linear layer when one operand is a constant, else a product of two activations."""
    if linear.has_constant_weight(island.core):
        return linear.linear(island, setting)
    return elementwise.matmul(island, setting)


KERNELS["MatMul"] = _matmul
