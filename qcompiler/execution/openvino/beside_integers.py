"""Rewrites of float ops that OpenVINO's low-precision transformations get wrong.

They apply to models with integers only; like `float_rewrites`, each returns why it cannot be done.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, rank, uses


def double_apart(node: ir.Node, rewriter: Rewriter) -> str | None:
    """The maximum with minus infinity, behind a Cast from double.

    OpenVINO's low-precision transformations drop a Cast in front of a quantization, whatever only
    scales between, and its kernels have no doubles.
    """
    data, output = node.inputs[0], node.outputs[0]
    kinds = None if data is None else (data.dtype, output.dtype)
    if kinds != (ir.DataType.DOUBLE, ir.DataType.FLOAT) or not _has_integers(node.graph):
        return None
    if all(is_op(use.node, "Max", "Relu") for use in uses(output)):
        return None
    single = rewriter.insert(
        "Cast", [data], before=node, attributes={"to": int(ir.DataType.FLOAT)},
        dtype=output.dtype, shape=output.shape,
    ).outputs[0]  # fmt: skip
    least = rewriter.constant(np.array(-np.inf, np.float32), "least")
    rewriter.recompose(output, "Max", [single, least])
    return None


def single_arithmetic(node: ir.Node, rewriter: Rewriter) -> str | None:
    """Scaling and shifting doubles by a constant in single precision, as the plugin does anyway.

    OpenVINO takes them for a dequantization, keeps their type, and has no kernel for it.
    """
    output, operands = node.outputs[0], list(node.inputs)
    if output.dtype is not ir.DataType.DOUBLE or not _has_integers(node.graph):
        return None
    if not any(constant(value) is not None for value in operands):
        return None
    single = [_single(value, node, rewriter) for value in operands if value is not None]
    found = rewriter.insert(
        node.op_type, single, before=node, dtype=ir.DataType.FLOAT, shape=output.shape
    ).outputs[0]
    rewriter.recompose(output, "Cast", [found], attributes={"to": int(ir.DataType.DOUBLE)})
    return None


def _single(value: ir.Value, node: ir.Node, rewriter: Rewriter) -> ir.Value:
    """A double in single precision, in front of a node."""
    stored = constant(value)
    if stored is not None:
        return rewriter.constant(stored.astype(np.float32), "single")
    read = rewriter.insert(
        "Cast", [value], before=node, attributes={"to": int(ir.DataType.FLOAT)},
        dtype=ir.DataType.FLOAT, shape=value.shape,
    ).outputs[0]  # fmt: skip
    return _apart(read, node, rewriter)


def _apart(value: ir.Value, node: ir.Node, rewriter: Rewriter) -> ir.Value:
    least = rewriter.constant(np.array(-np.inf, np.float32), "least")
    return rewriter.insert(
        "Max", [value, least], before=node, dtype=value.dtype, shape=value.shape
    ).outputs[0]


def squeezed_behind(node: ir.Node, rewriter: Rewriter) -> str | None:
    """The reduction with its axes kept, and a Squeeze.

    OpenVINO's low-precision transformations move the scales of a product's columns behind the
    reduction as they are, [1, 1, columns], whatever rank is left; a matrix is read otherwise then.
    """
    axes, output = node.inputs[1] if len(node.inputs) > 1 else None, node.outputs[0]
    dropped = axes is not None and not node.attributes.get_int("keepdims", 1)
    if not dropped or rank(output) not in (2, None) or not _has_integers(node.graph):
        return None
    attributes = {each.name: each.value for each in node.attributes.values()} | {"keepdims": 1}
    kept = rewriter.insert(
        node.op_type, node.inputs, before=node, attributes=attributes, dtype=output.dtype
    )
    rewriter.recompose(output, "Squeeze", [kept.outputs[0], axes])
    return None


_COLUMNWISE = ("Mul", "Div", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Transpose")
"""Ops that scales per column are moved behind."""


def columns_kept(node: ir.Node, rewriter: Rewriter) -> str | None:
    """The maximum with minus infinity, behind which scales do not go, before a last axis of one.

    Where the columns of a product become the last axis but one, OpenVINO looks for their scales in
    the wrong axis and refuses the model.
    """
    data, output = node.inputs[0], node.outputs[0]
    tall = data is not None and _last(output) == 1 and _last(data) != 1
    if data is None or not tall or rank(data) == 2 or not _has_integers(node.graph):
        return None
    maker = data.producer()
    while is_op(maker, *_COLUMNWISE) and maker is not None and maker.inputs[0] is not None:
        maker = maker.inputs[0].producer()
    if is_op(maker, "MatMul", "Gemm"):
        rewriter.set_input(node, 0, _apart(data, node, rewriter))
    return None


def _last(value: ir.Value) -> int | None:
    """Length of the last axis; None if it is open."""
    shape = value.shape
    return shape[-1] if shape is not None and len(shape) and isinstance(shape[-1], int) else None


def _has_integers(graph: ir.Graph | None) -> bool:
    return graph is not None and any(is_op(node, "QuantizeLinear") for node in graph)
