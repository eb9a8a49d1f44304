"""Products whose accumulators are scaled outside of them, and those with weights in blocks of bits.

MatMulInteger and ConvInteger give int32; what makes numbers of that is Cast and one or more Mul by
the scales. Together they are the float product of dequantized operands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.decisions.absorbed import Grid
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, sole_user
from qcompiler.passes.absorption.pairs import tensor_params
from qcompiler.passes.absorption.quantized_form import QuantizedForm
from qcompiler.passes.absorption.stored import grid_of
from qcompiler.quantization.packing import unpack
from qcompiler.quantization.qspace import Granularity, QParams, QSpace

Array = npt.NDArray[Any]
PRODUCTS = frozenset({"MatMulInteger", "ConvInteger", "MatMulNBits"})
_UNSIGNED = {2: ir.DataType.UINT2, 4: ir.DataType.UINT4, 8: ir.DataType.UINT8}
_WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def absorb_product(node: ir.Node, rewriter: Rewriter) -> list[Grid] | None:
    """Writes one operator of `PRODUCTS` in float.

    Returns:
        Grids that are no DequantizeLinear's; None where the operator stays as it is.
    """
    form = QuantizedForm(node, rewriter)
    if node.op_type == "MatMulNBits":
        return _absorb_blocks(form)
    return [] if _absorb_accumulator(form) else None


def _absorb_accumulator(form: QuantizedForm) -> bool:
    node, rewriter = form.node, form.rewriter
    value, weight = form.operand(0), form.operand(1)
    cast = sole_user(node.outputs[0])
    if value is None or weight is None or not is_op(cast, "Cast"):
        return False
    assert cast is not None
    end, scales, runtime = _scaled(cast.outputs[0])
    data, step = _data(form, value, runtime)
    conv = node.op_type == "ConvInteger"
    axis = 0 if conv else len(weight.shape or ()) - 1
    along = None if data is None else _along(scales, conv)
    if data is None or along is None or cast.outputs[0].dtype is not ir.DataType.FLOAT:
        return False
    zero = form.operand(3)
    right = form.dequantized(weight, along / step, zero, axis)
    if right is None:
        return False
    op_type, attributes = ("Conv", form.attributes(*_WINDOW)) if conv else ("MatMul", {})
    rewriter.recompose(end, op_type, [data, right], attributes=attributes)
    return True


def _data(
    form: QuantizedForm, value: ir.Value, runtime: list[ir.Value]
) -> tuple[ir.Value | None, np.float32]:
    """The float data, and the step of its integers if the scales behind the product hold it."""
    producer, zero = value.producer(), form.operand(2)
    if is_op(producer, "DynamicQuantizeLinear") and producer is not None:
        known = runtime == [producer.outputs[1]] and zero is producer.outputs[2]
        return (producer.inputs[0] if known else None), np.float32(1)
    params = tensor_params(producer) if is_op(producer, "QuantizeLinear") and producer else None
    if params is None or runtime:
        return None, np.float32(1)
    assert producer is not None
    own = constant(zero) if zero is not None else np.zeros((), np.int64)
    if own is None or own.size != 1 or int(own.reshape(())) != int(params.zero_point):
        return None, np.float32(1)
    data = form.dequantized(value, *producer.inputs[1:3])  # type: ignore[arg-type]  # both are there
    return data, np.float32(params.scale)


def _scaled(value: ir.Value) -> tuple[ir.Value, list[Array], list[ir.Value]]:
    """The last of the products by scales behind a value, with what they multiply by."""
    arrays: list[Array] = []
    computed: list[ir.Value] = []
    while (user := sole_user(value)) is not None and is_op(user, "Mul"):
        other = user.inputs[1] if user.inputs[0] is value else user.inputs[0]
        found = _factors(other)
        if other is value or found is None:
            break
        arrays += found[0]
        computed += found[1]
        value = user.outputs[0]
    return value, arrays, computed


def _factors(value: ir.Value | None) -> tuple[list[Array], list[ir.Value]] | None:
    """Constants and scales of DynamicQuantizeLinear that a value is the product of."""
    array, node = constant(value), value.producer() if value is not None else None
    if array is not None:
        return [array], []
    if value is not None and is_op(node, "DynamicQuantizeLinear"):
        return [], [value]
    if node is None or not is_op(node, "Mul"):
        return None
    parts = [_factors(operand) for operand in node.inputs]
    if any(part is None for part in parts):
        return None
    return [a for p in parts if p for a in p[0]], [v for p in parts if p for v in p[1]]


def _along(scales: list[Array], conv: bool) -> Array | None:
    """The product of constant scales, one or one per output channel; None for another layout."""
    total: Array = np.asarray(1.0, np.float32)
    for each in scales:
        array = np.asarray(each, np.float32)
        if array.size > 1:
            place = array.ndim - 3 if conv else array.ndim - 1
            if not 0 <= place < array.ndim or array.shape[place] != array.size:
                return None
        total = total * (array.reshape(-1) if array.size > 1 else array.reshape(()))
    return total


def _absorb_blocks(form: QuantizedForm) -> list[Grid] | None:
    """MatMulNBits: (A, B, scales, zero_points?, g_idx?, bias?), B is [N, blocks, bytes].

    Source: ONNX Runtime, docs/ContribOperators.md.
    """
    node = form.node
    given = [constant(form.operand(index)) for index in (1, 2)]
    bits, block = (node.attributes.get_int(name, 4) for name in ("bits", "block_size"))
    inputs, outputs = (node.attributes.get_int(name, 0) for name in ("K", "N"))
    data, scale = given
    index = form.operand(4)
    shuffled = index is not None and bool(index.name)
    if data is None or scale is None or bits not in _UNSIGNED or shuffled:
        return None
    blocks = -(-inputs // block)
    integers = _unpacked(data, outputs * blocks * block, bits).reshape(outputs, -1)[:, :inputs]
    steps = np.asarray(scale, np.float32).reshape(outputs, blocks)
    zero = _zero_points(form.operand(3), (outputs, blocks), bits)
    if zero is None:
        return None
    array = (integers - _spread(zero, block, inputs)).astype(np.float32)
    array = np.ascontiguousarray((array * _spread(steps, block, inputs)).T)
    left, bias = form.operand(0), form.operand(5)
    assert left is not None
    weight = form.rewriter.constant(array, f"{node.name}_weight")
    result = form.compute("MatMul", [left, weight])
    if bias is not None:
        result = form.compute("Add", [result, bias])
    form.write(result, None, None)
    if not np.all(steps > 0) or np.any(zero != np.rint(zero)):
        return []
    space = QSpace(_UNSIGNED[bits], False, Granularity.GROUP, block)
    return grid_of(array, QParams(steps, zero.astype(np.int64), space, 1))


def _unpacked(data: Array, count: int, bits: int) -> Array:
    """Integers of packed bytes, as float32, which holds them exactly."""
    flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    whole = flat if bits == 8 else unpack(flat, (flat.size * 8 // bits,), _UNSIGNED[bits])
    return np.asarray(whole[:count], np.float32)


def _zero_points(value: ir.Value | None, shape: tuple[int, int], bits: int) -> Array | None:
    """Zero points by block: packed row by row, or numbers; the middle where there are none."""
    if value is None:
        return np.full(shape, 2.0 ** (bits - 1), np.float32)
    array = constant(value)
    if array is None:
        return None
    if array.dtype.kind == "f":
        return np.asarray(array, np.float32).reshape(shape)
    rows, blocks = shape
    per_row = -(-blocks * bits // 8) * 8 // bits
    return _unpacked(array, rows * per_row, bits).reshape(rows, per_row)[:, :blocks]


def _spread(array: Array, block: int, count: int) -> Array:
    return np.repeat(array, block, axis=1)[:, :count]
