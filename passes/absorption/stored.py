"""Constants in integers become float constants, and their grids are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.decisions.absorbed import Grid, grid_key
from qcompiler.errors import ConfigurationError
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import (
    all_graphs,
    constant,
    is_op,
    is_stored,
    quantization_of,
    stored_array,
    stored_identity,
)
from qcompiler.quantization.numerics import dequantize
from qcompiler.quantization.qspace import QParams

Array = npt.NDArray[Any]


def absorb_constants(rewriter: Rewriter) -> tuple[list[Grid], list[ir.Node]]:
    """Puts a float initializer in the place of every DequantizeLinear of a constant.

    Returns:
        The grids, and the nodes that could not be read.
    """
    grids: list[Grid] = []
    refused: list[ir.Node] = []
    made: dict[tuple[object, ...], ir.Value] = {}
    for graph in all_graphs(rewriter.program.model):
        for node in list(graph):
            if not is_op(node, "DequantizeLinear") or not is_stored(node.inputs[0]):
                continue
            key = stored_identity(node.outputs[0])
            if key is None:
                continue  # its scale is computed
            if key not in made:
                array = _array(node)
                if array is None:
                    refused.append(node)
                    continue
                made[key] = rewriter.constant(array, f"{_stem(node)}_float")
                grids += grid_of(array, _params(node))
            rewriter.replace_uses(node.outputs[0], made[key])
            rewriter.erase_dead(node)
    return grids, refused


def grid_of(array: Array, params: QParams | None) -> list[Grid]:
    """The grid of a float weight; nothing for biases in int32 and what has no levels."""
    if params is None or not array.size or params.space.is_float:
        return []
    return [] if params.space.storage_bits > 16 else [Grid(grid_key(array), params)]


def _stem(node: ir.Node) -> str:
    value = node.inputs[0]
    return (None if value is None else value.name) or "constant"


def _params(node: ir.Node) -> QParams | None:
    try:
        return quantization_of(node)
    except ConfigurationError:  # scales that are zero or negative are no grid of ours
        return None


def _array(node: ir.Node) -> Array | None:
    """The float values, in the type that the node makes."""
    integers, params = stored_array(node.inputs[0]), _params(node)
    if integers is None:
        return None
    found = dequantize(integers, params) if params is not None else _signed(node, integers)
    kind = node.outputs[0].dtype or ir.DataType.FLOAT
    return None if found is None else np.asarray(found, kind.numpy())


def _signed(node: ir.Node, integers: Array) -> Array | None:
    """Dequantized by scales of any sign (blocks of ONNX Runtime's 4-bit quantizer have both)."""
    scale = constant(node.inputs[1])
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if scale is None or not np.all(np.isfinite(np.asarray(scale, np.float64))):
        return None
    points = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    axis = node.attributes.get_int("axis", 1) % max(integers.ndim, 1)
    block = node.attributes.get_int("block_size", 0)
    steps = np.asarray(scale, np.float32)
    spread = [_spread(each, integers.shape, axis, block) for each in (steps, points)]
    found: Array = (integers.astype(np.int64) - spread[1]).astype(np.float32) * spread[0]
    return found


def _spread(array: Array, shape: tuple[int, ...], axis: int, block: int) -> Array:
    if array.size == 1:
        return array.reshape(())
    if not block:
        return array.reshape((-1,) + (1,) * (len(shape) - axis - 1))
    return np.take(np.repeat(array, block, axis=axis), range(shape[axis]), axis)
