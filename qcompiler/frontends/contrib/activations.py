"""Activations by name, as fused nodes hold them, and those that are operators of their own.

Sources: ONNX Runtime, docs/ContribOperators.md; the fused activations of its CPU kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import onnx_ir as ir

from qcompiler.frontends.contrib.spelling import NotSpelt, Spell, Spelling

_PARAMETERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Relu": (), "Sigmoid": (), "Tanh": (), "Softplus": (), "Softsign": (), "HardSwish": (),
        "LeakyRelu": ("alpha",), "Elu": ("alpha",), "ThresholdedRelu": ("alpha",),
        "HardSigmoid": ("alpha", "beta"), "Selu": ("alpha", "gamma"), "Clip": ("min", "max"),
    }
)  # fmt: skip
"""Activations that a fused node may name, and the attributes that its parameters are."""


def activated(
    form: Spelling, value: ir.Value, name: str, parameters: Mapping[str, float]
) -> ir.Value:
    """The activation behind a fused node; `name` is empty where there is none."""
    if not name:
        return value
    if name not in _PARAMETERS:
        raise NotSpelt(f"the activation '{name}' is not known")
    if name == "Clip":
        bounds = [form.like(parameters[each], form.operand(0)) for each in ("min", "max")]
        return form.op("Clip", value, *bounds)
    return form.op(name, value, **parameters)


def in_order(name: str, values: Sequence[float]) -> dict[str, float]:
    """Parameters that stand in a list."""
    return dict(zip(_PARAMETERS.get(name, ()), values, strict=False))


def _gelu(form: Spelling) -> None:
    form.end("Gelu", form.needed(0))


def _bias_gelu(form: Spelling) -> None:
    form.end("Gelu", form.added(form.needed(0), form.needed(1)))


def _fast_gelu(form: Spelling) -> None:
    form.end("Gelu", form.added(form.needed(0), form.operand(1)), approximate="tanh")


def _quick_gelu(form: Spelling) -> None:
    """QuickGelu: x · sigmoid(α·x)."""
    data = form.needed(0)
    alpha = form.number("alpha", 1.702)
    inner = data if alpha == 1 else form.op("Mul", data, form.like(alpha, data))
    form.end("Mul", data, form.op("Sigmoid", inner))


ACTIVATIONS: Mapping[str, Spell] = MappingProxyType(
    {
        "BiasGelu": _bias_gelu,
        "FastGelu": _fast_gelu,
        "Gelu": _gelu,
        "QuickGelu": _quick_gelu,
    }
)
