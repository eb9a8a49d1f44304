"""Products with a matrix, and the row that is added to one: what kernels call a bias."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, producer_of, rank


def product_rank(product: ir.Node) -> int | None:
    """Number of axes of a MatMul or Gemm; those of its data if the other factor is a matrix."""
    known = rank(product.outputs[0])
    if known is not None:
        return known
    return rank(product.inputs[0]) if rank(product.inputs[1]) == 2 else None


def is_row(dims: Sequence[int], axes: int | None) -> bool:
    """Whether what is added to a product is one row: [N] or [1, ..., 1, N], or a number.

    With more axes than the product it would give them to the sum, which a kernel's bias does not.

    Args:
        dims: Shape of what is added.
        axes: Number of axes of the product; None if that is not known.
    """
    return len(dims) <= (1 if axes is None else axes) and all(d == 1 for d in dims[:-1])


def unsqueeze_behind(node: ir.Node, rewriter: Rewriter) -> bool:
    """Add or Sub of a product and [1, ..., N] of more axes → of fewer, and Unsqueeze.

    Engines take such a constant for the bias of a product, and lose the axes: ONNX Runtime 1.31.1
    behind MatMulInteger, OpenVINO 2026.4.1 behind every product in a model of open sizes.

    Args:
        node: An Add or Sub.
        rewriter: Of its program.

    Returns:
        Whether it was such a node.
    """
    for place in (0, 1):
        product, stored = producer_of(node.inputs[1 - place]), constant(node.inputs[place])
        if stored is None or product is None or not is_op(product, "MatMul", "Gemm"):
            continue
        axes = product_rank(product)
        if not axes or stored.ndim <= axes or any(d != 1 for d in stored.shape[:-axes]):
            continue
        _rewrite(node, place, stored.reshape(stored.shape[-axes:]), stored.ndim - axes, rewriter)
        return True
    return False


def _rewrite(node: ir.Node, place: int, row: np.ndarray, added: int, rewriter: Rewriter) -> None:
    output, name = node.outputs[0], node.outputs[0].name
    operands = list(node.inputs)
    operands[place] = rewriter.constant(row, f"{name}_row")
    shape = None if output.shape is None else ir.Shape(list(output.shape)[added:])
    total = rewriter.insert(
        node.op_type,
        operands,
        before=node,
        outputs=(f"{name}_sum",),
        origin=(node,),
        dtype=output.dtype,
        shape=shape,
    )
    axes = rewriter.constant(np.arange(added), f"{name}_axes")
    rewriter.recompose(output, "Unsqueeze", [total.outputs[0], axes])
