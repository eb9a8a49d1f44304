"""`DynamicProduct`: a product whose data is quantized at run time, found in a placed program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qcompiler.ir.products import is_row
from qcompiler.ir.walk import is_op, rank, sole_user
from qcompiler.lowering.torch_fx.constants import Array, array_of


@dataclass(frozen=True, eq=False)
class DynamicProduct:
    """x → DynamicQuantizeLinear → MatMulInteger → Cast → Mul(x_scale * w_scale) [→ Add bias].

    Attributes:
        nodes: All of it behind DynamicQuantizeLinear.
        last: The node whose output is the product.
        x: The float operand.
        weight: int8 [rows, columns].
        scale: float32, () or [columns].
        zero_point: int64, same shape.
        bias: float32 [columns], if there is one.
    """

    nodes: tuple[ir.Node, ...]
    last: ir.Node
    x: ir.Value
    weight: Array
    scale: Array
    zero_point: Array
    bias: Array | None


def dynamic_product(product: ir.Node) -> DynamicProduct | None:
    """The pattern around a MatMulInteger, None if it is another one."""
    source = product.inputs[0].producer() if product.inputs[0] is not None else None
    weight = array_of(product.inputs[1])
    if source is None or not is_op(source, "DynamicQuantizeLinear") or weight is None:
        return None
    zero = array_of(product.inputs[3]) if len(product.inputs) > 3 else None
    cast = _sole(product, "Cast")
    rescale = _sole(cast, "Mul")
    scales = _scales(rescale, cast, source)
    if weight.ndim != 2 or rescale is None or cast is None or scales is None:
        return None
    nodes, scale = scales
    if weight.dtype == np.uint8:
        weight = (weight.astype(np.int16) - 128).astype(np.int8)
        zero = np.asarray(zero if zero is not None else 0, np.int64) - 128
    points = np.zeros(scale.shape, np.int64) if zero is None else np.asarray(zero, np.int64)
    if scale.size == 1:
        scale, points = scale.reshape(()), points.reshape(-1)[:1].reshape(())
    points = np.broadcast_to(points, scale.shape)
    x = source.inputs[0]
    assert x is not None
    last, bias, extra = _bias(rescale, weight.shape[1], rank(x))
    replaced = (product, cast, *nodes, rescale, *extra)
    return DynamicProduct(replaced, last, x, weight, scale, points, bias)


def _sole(node: ir.Node | None, op_type: str) -> ir.Node | None:
    user = sole_user(node.outputs[0]) if node is not None else None
    return user if user is not None and is_op(user, op_type) else None


def _scales(
    rescale: ir.Node | None, cast: ir.Node | None, source: ir.Node
) -> tuple[list[ir.Node], Array] | None:
    """The Mul of the two scales, and the weight's scale."""
    if rescale is None or cast is None:
        return None
    others = [v for v in rescale.inputs if v is not cast.outputs[0]]
    product = others[0].producer() if len(others) == 1 and others[0] is not None else None
    if product is None or not is_op(product, "Mul"):
        return None
    parts = [v for v in product.inputs if v is not source.outputs[1]]
    scale = array_of(parts[0]) if len(parts) == 1 else None
    if scale is None or sole_user(product.outputs[0]) is not rescale:
        return None
    return [product], scale.astype(np.float32).reshape(-1)


def _bias(
    rescale: ir.Node, columns: int, axes: int | None
) -> tuple[ir.Node, Array | None, list[ir.Node]]:
    """The node that ends the pattern, its bias, and the Add if there is one.

    A product with a matrix has the axes of its data.
    """
    add = _sole(rescale, "Add")
    if add is None:
        return rescale, None, []
    others = [v for v in add.inputs if v is not rescale.outputs[0]]
    bias = array_of(others[0]) if len(others) == 1 else None
    if bias is None or bias.size not in (1, columns) or not is_row(bias.shape, axes):
        return rescale, None, []
    return add, np.broadcast_to(bias.reshape(-1).astype(np.float32), (columns,)), [add]
