"""Reading per-channel affine steps out of nodes: BatchNormalization, Mul, Add, Sub, Div."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.ir.element_types import UP_TO_SINGLE
from qcompiler.ir.walk import constant, is_constant, is_op, uses
from qcompiler.passes.fusion.affine import Affine, of_batch_norm

Array = npt.NDArray[Any]

STEP_OPS = ("BatchNormalization", "Mul", "Add", "Sub", "Div")


def computed_operand(node: ir.Node) -> ir.Value | None:
    """The one operand of an affine step that is not constant."""
    if is_op(node, "BatchNormalization"):
        return node.inputs[0]
    if not is_op(node, *STEP_OPS):
        return None
    computed = [operand for operand in node.inputs if not is_constant(operand)]
    return computed[0] if len(computed) == 1 else None


def read_step(node: ir.Node, dims: int, axis: int, channels: int) -> Affine | None:
    """The node as an affine step on one axis, None if it is something else.

    Args:
        node: Any node.
        dims: Rank of its computed operand.
        axis: The axis that the channels lie on.
        channels: Their number.
    """
    found: Affine | None
    if is_op(node, "BatchNormalization"):
        found = _batch_norm(node) if axis == 1 else None
    elif is_op(node, *STEP_OPS) and computed_operand(node) is not None:
        found = _arithmetic(node, dims, axis, channels)
    else:
        return None
    if found is None or not found.is_finite:
        return None
    return found if {found.scale.size, found.shift.size} <= {1, channels} else None


def _batch_norm(node: ir.Node) -> Affine | None:
    if node.attributes.get_int("training_mode", 0):
        return None
    if any(uses(extra) or extra.is_graph_output() for extra in node.outputs[1:]):
        return None
    arrays = [constant(operand) for operand in node.inputs[1:5]]
    if len(arrays) < 4 or any(array is None for array in arrays):
        return None
    scale, bias, mean, variance = (array for array in arrays if array is not None)
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    with np.errstate(all="ignore"):
        return of_batch_norm(scale, bias, mean, variance, epsilon)


def _arithmetic(node: ir.Node, dims: int, axis: int, channels: int) -> Affine | None:
    index = 0 if is_constant(node.inputs[0]) else 1
    if index == 0 and is_op(node, "Div"):
        return None
    operand = node.inputs[index]
    if operand is None or operand.dtype not in UP_TO_SINGLE:
        return None
    vector = _channel_vector(constant(operand), dims, axis, channels)
    if vector is None:
        return None
    one, zero = np.ones(1), np.zeros(1)
    if is_op(node, "Mul"):
        return Affine(vector, zero)
    if is_op(node, "Div"):
        with np.errstate(divide="ignore"):
            return Affine(1.0 / vector, zero)
    if is_op(node, "Add"):
        return Affine(one, vector)
    return Affine(-one, vector) if index == 0 else Affine(one, -vector)


def _channel_vector(array: Array | None, dims: int, axis: int, channels: int) -> Array | None:
    """A constant that varies along `axis` only, as float64 [channels] or [1]."""
    if array is None or array.ndim > dims or array.size not in (1, channels):
        return None
    shape = (1,) * (dims - array.ndim) + array.shape
    if any(size != 1 for position, size in enumerate(shape) if position != axis):
        return None
    return array.astype(np.float64).reshape(-1)
