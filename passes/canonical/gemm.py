"""Gemm in the one spelling that kernels know: a stored weight, a bias per column, no factors."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.ir.products import unsqueeze_behind
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_stored, rank
from qcompiler.passes.canonical.dims import partial_dims
from qcompiler.passes.canonical.rule import rule


@rule("gemm-factors", "Gemm")
def gemm_factors(node: ir.Node, rewriter: Rewriter) -> bool:
    """alpha * A @ B + beta * C with constant B and C becomes A @ B' + C'.

    Rounds each weight once more (half an ulp); a factor whose operand is computed stays.
    """
    changed = _scaled(node, "alpha", 1, rewriter)
    return _scaled(node, "beta", 2, rewriter) or changed


def _scaled(node: ir.Node, factor: str, position: int, rewriter: Rewriter) -> bool:
    value = node.attributes.get_float(factor, 1.0)
    operand = node.inputs[position] if position < len(node.inputs) else None
    if value == 1.0 or operand is None:
        return False
    array = constant(operand)
    if array is None or array.dtype.kind != "f":
        return False
    scaled = np.asarray(array * array.dtype.type(value))
    rewriter.set_input(node, position, rewriter.constant(scaled, f"{operand.name}_{factor}"))
    rewriter.set_attribute(node, factor, None)
    return True


@rule("gemm-bias", "Gemm")
def gemm_bias(node: ir.Node, rewriter: Rewriter) -> bool:
    """A constant bias of one element or [1, N] → [N]; any other one becomes an Add behind.

    Exact: the product is rounded to float before the bias is added in either form.
    """
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    columns = _columns(node)
    if bias is None or columns is None or node.attributes.get_float("beta", 1.0) != 1.0:
        return False
    array = constant(bias)
    if array is not None and (array.size == 1 or array.shape[-1:] == (columns,) == (array.size,)):
        if array.shape == (columns,):
            return False
        vector = np.ascontiguousarray(np.broadcast_to(array.reshape(-1), (columns,)))
        rewriter.set_input(node, 2, rewriter.constant(vector, f"{bias.name}_row"))
        return True
    if array is None and rank(bias) == 1 and is_stored(bias):
        return False
    return _added_behind(node, bias, rewriter)


@rule("row-of-more-axes", "Add", "Sub")
def row_of_more_axes(node: ir.Node, rewriter: Rewriter) -> bool:
    """What is added to a product has no axes that the product lacks; they come behind."""
    return unsqueeze_behind(node, rewriter)


@rule("gemm-of-activations", "Gemm")
def gemm_of_activations(node: ir.Node, rewriter: Rewriter) -> bool:
    """A product whose second factor is computed is a MatMul: its weight is none."""
    left, right = node.inputs[0], node.inputs[1]
    if left is None or right is None or is_stored(right):
        return False
    if node.attributes.get_float("alpha", 1.0) != 1.0:
        return False
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None:  # the product then comes here again
        return node.attributes.get_float("beta", 1.0) == 1.0 and _added_behind(node, bias, rewriter)
    factors = [
        _turned(value, node, rewriter) if node.attributes.get_int(name, 0) else value
        for value, name in ((left, "transA"), (right, "transB"))
    ]
    rewriter.recompose(node.outputs[0], "MatMul", factors)
    return True


def _columns(node: ir.Node) -> int | None:
    """Extent of the last axis of the result, None if it is not known."""
    dims = partial_dims(node.inputs[1])
    if dims is None or len(dims) != 2:
        return None
    return dims[0 if node.attributes.get_int("transB", 0) else 1]


def _added_behind(node: ir.Node, bias: ir.Value, rewriter: Rewriter) -> bool:
    output = node.outputs[0]
    attributes = {name: attr.value for name, attr in node.attributes.items() if name != "beta"}
    product = rewriter.insert(
        "Gemm",
        [node.inputs[0], node.inputs[1]],
        before=node,
        attributes=attributes,
        origin=[node],
        outputs=(f"{output.name}_product",),
        dtype=output.dtype,
        shape=output.shape,
    )
    rewriter.recompose(output, "Add", [product.outputs[0], bias])
    return True


def _turned(value: ir.Value, node: ir.Node, rewriter: Rewriter) -> ir.Value:
    """The transpose of a matrix, in front of the node."""
    shape = None if value.shape is None else ir.Shape(tuple(value.shape)[::-1])
    made = rewriter.insert(
        "Transpose",
        [value],
        before=node,
        attributes={"perm": (1, 0)},
        origin=[node],
        outputs=(f"{value.name}_turned",),
        dtype=value.dtype,
        shape=shape,
    )
    return made.outputs[0]
