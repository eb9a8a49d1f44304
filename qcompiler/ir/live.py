"""What the readers of a value can tell apart: HardSwish is 0 for all that is below -3.

No level is to be spent beyond that, so calibration takes what lies there for the bound. Of a layer
in front of a HardSwish half of the range is often below it. Relu and Clip are not here: kernels
take them in, and then nobody rounds in front of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.walk import constant, is_op, rank, sole_user, uses

Array = npt.NDArray[Any]

_SWISH_LOW = -3.0
_ALPHA, _BETA = 0.2, 0.5
"""Defaults of HardSigmoid."""
_LARGEST = 3.4028234663852886e38


@dataclass(frozen=True, eq=False)
class Live:
    """Bounds beyond which all readers of a value see the same as at the bound.

    Attributes:
        low: float32, broadcastable to the value: () or one number for each channel.
        high: The same.
    """

    low: Array
    high: Array


def live_bounds(value: ir.Value) -> Live | None:
    """The bounds of a value; None where some reader tells all its elements apart."""
    readings = uses(value)
    if not readings or value.is_graph_output():
        return None
    found = [_of_reader(value, use.node) for use in readings]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return None
    low, high = known[0].low, known[0].high
    for each in known[1:]:
        low, high = np.minimum(low, each.low), np.maximum(high, each.high)
    if np.all(low <= -_LARGEST) and np.all(high >= _LARGEST):
        return None
    return Live(np.asarray(low, np.float32), np.asarray(high, np.float32))


def _of_reader(value: ir.Value, node: ir.Node) -> Live | None:
    if is_op(node, "HardSwish"):
        return _live(_SWISH_LOW, _LARGEST)
    if is_op(node, "HardSigmoid"):
        return _of_hard_sigmoid(node)
    return _of_gated(value, node)


def _of_hard_sigmoid(node: ir.Node) -> Live | None:
    """Where alpha · x + beta leaves [0, 1]."""
    alpha = node.attributes.get_float("alpha", _ALPHA)
    beta = node.attributes.get_float("beta", _BETA)
    return _live(-beta / alpha, (1 - beta) / alpha) if alpha > 0 else None


def _of_gated(value: ir.Value, node: ir.Node) -> Live | None:
    """Of x in x · HardSigmoid(x · factors), seen from either product."""
    if not is_op(node, "Mul"):
        return None
    factors = _factors(value, node)
    gate: ir.Node | None
    product: ir.Node | None = node
    if factors is not None:
        gate = sole_user(node.outputs[0])
        product = None if gate is None else sole_user(gate.outputs[0])
    else:
        gate, factors = _gate_of(value, node)
    if gate is None or factors is None or not is_op(gate, "HardSigmoid"):
        return None
    if product is None or not is_op(product, "Mul") or value not in product.inputs:
        return None
    bounds = _of_hard_sigmoid(gate)
    return None if bounds is None else _live(bounds.low / factors, _LARGEST)


def _factors(value: ir.Value, node: ir.Node) -> Array | None:
    """Positive constants that a Mul scales the channels of the value by."""
    if node.inputs[0] is not value:
        return None
    array, dims = constant(node.inputs[1]), rank(value)
    if array is None or dims is None or array.ndim > dims or not np.all(array > 0):
        return None
    return np.asarray(array, np.float32)


def _gate_of(value: ir.Value, product: ir.Node) -> tuple[ir.Node | None, Array | None]:
    """The HardSigmoid that a product reads beside the value, and the factors in front of it."""
    others = [each for each in product.inputs if each is not value]
    gate = others[0].producer() if len(others) == 1 and others[0] is not None else None
    if gate is None or not gate.inputs or gate.inputs[0] is None:
        return None, None
    if gate.inputs[0] is value:
        return gate, np.ones((), np.float32)
    inner = gate.inputs[0].producer()
    if inner is None or not is_op(inner, "Mul"):
        return gate, None
    return gate, _factors(value, inner)


def _live(low: float | Array, high: float | Array) -> Live:
    return Live(np.asarray(low, np.float32), np.asarray(high, np.float32))
