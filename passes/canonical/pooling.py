"""Reductions over space in the spelling that targets have integer kernels for."""

from __future__ import annotations

import onnx_ir as ir

from qcompiler.ir.element_types import UP_TO_SINGLE
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, rank, sole_user
from qcompiler.passes.canonical.algebra import close, operand_and_scalar
from qcompiler.passes.canonical.dims import partial_dims
from qcompiler.passes.canonical.rule import rule


def reduced_axes(node: ir.Node) -> tuple[int, ...] | None:
    """Axes of a Reduce node, not negative and sorted; None if they are not known."""
    dims = rank(node.inputs[0])
    operand = node.inputs[1] if len(node.inputs) > 1 else None
    axes = constant(operand)
    if dims is None or (operand is not None and axes is None):
        return None
    if axes is None or axes.size == 0:
        no_op = node.attributes.get_int("noop_with_empty_axes", 0)
        return None if no_op else tuple(range(dims))
    return tuple(sorted(int(axis) % dims for axis in axes))


@rule("global-average-pool", "ReduceMean")
def global_average_pool(node: ir.Node, rewriter: Rewriter) -> bool:
    """ReduceMean over all spatial axes of an NCHW (or NCDHW) value → GlobalAveragePool.

    Without `keepdims` a Flatten follows. Rank 3 is left: there it is mostly a sequence.
    """
    axes = reduced_axes(node)
    dims = rank(node.inputs[0])
    if axes is None or dims is None or dims < 4 or axes != tuple(range(2, dims)):
        return False
    output = node.outputs[0]
    if output.dtype not in UP_TO_SINGLE:
        return False
    if node.attributes.get_int("keepdims", 1):
        rewriter.recompose(output, "GlobalAveragePool", [node.inputs[0]])
        return True
    shape = None if output.shape is None else ir.Shape([*output.shape, *([1] * (dims - 2))])
    pool = rewriter.insert(
        "GlobalAveragePool",
        [node.inputs[0]],
        before=node,
        outputs=(f"{output.name}_pool",),
        dtype=output.dtype,
        shape=shape,
    )
    rewriter.recompose(output, "Flatten", [pool.outputs[0]], attributes={"axis": 1})
    return True


@rule("no-dilations", "AveragePool", "MaxPool")
def no_dilations(node: ir.Node, rewriter: Rewriter) -> bool:
    """Dilations that are all 1 are said by leaving them out, as kernels before opset 19 want it."""
    dilations = node.attributes.get_ints("dilations", None)
    if dilations is None or any(each != 1 for each in dilations):
        return False
    rewriter.set_attribute(node, "dilations", None)
    return True


@rule("sum-to-mean", "Mul")
def sum_to_mean(node: ir.Node, rewriter: Rewriter) -> bool:
    """ReduceSum(x)·(1/n) → ReduceMean(x), if n elements are summed."""
    found = operand_and_scalar(node)
    reduce = None if found is None else found[0].producer()
    if found is None or reduce is None or not is_op(reduce, "ReduceSum"):
        return False
    axes, dims = reduced_axes(reduce), partial_dims(reduce.inputs[0])
    if axes is None or dims is None or sole_user(found[0]) is not node:
        return False
    count = 1
    for axis in axes:
        count *= dims[axis] or 0
    if count == 0 or not close(found[1] * count, 1.0):
        return False
    attributes = {"keepdims": reduce.attributes.get_int("keepdims", 1)}
    rewriter.recompose(node.outputs[0], "ReduceMean", list(reduce.inputs), attributes=attributes)
    return True
