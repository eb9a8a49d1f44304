"""Constant folding and shape arithmetic.

Arithmetic is folded while it is small; ops that only lay data out anew, or convert it, fold at any
size, so that a weight behind Identity, Transpose, Reshape or Cast becomes a plain constant. So does
a weight that is cut into parts and put together in another order, as torch exports the gates of
LSTM and GRU. Q/DQ of an already quantized model is never folded, and a large tensor with other
users is not copied.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from qcompiler.ir.optraits import traits
from qcompiler.ir.program import WORKING_OPSET
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_constant, uses
from qcompiler.passes.canonical.dims import known_elements, static_dims
from qcompiler.passes.canonical.rule import rule

Array = npt.NDArray[Any]

_SMALL_BYTES = 64 * 1024
_LAYOUT = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast"})
"""Ops that fold at any size; the result has as many elements as the operand."""
_ARITHMETIC = frozenset(
    "Add Sub Mul Div Pow Neg Abs Sqrt Exp Log Reciprocal Floor Ceil Round Mod Min Max Sum Equal "
    "Less LessOrEqual Greater GreaterOrEqual Not And Or Where Concat Slice Gather Range Expand "
    "ConstantOfShape Tile Pad ReduceSum ReduceMean ReduceProd ReduceMax ReduceMin Shape Size Clip "
    "Relu Sigmoid Tanh Erf Sin Cos Sign CumSum MatMul Trilu Xor GatherElements".split()
)
_SELECTING = frozenset({"Gather", "GatherElements", "Slice"})
"""Ops whose result is elements of the first operand."""
_DTYPES = frozenset("f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1".split())
_TEXTS = "OSU"
"""Kinds of NumPy arrays that are no tensor of numbers."""
_ELEMENTS = frozenset({"Shape", "Gather", "Slice", "Concat", "Squeeze", "Unsqueeze", "Cast"})


@rule("fold-constants", *_LAYOUT, *_ARITHMETIC)
def fold_constants(node: ir.Node, rewriter: Rewriter) -> bool:
    """A node whose operands are all constant → its value."""
    if len(node.outputs) != 1 or node.outputs[0].is_graph_output() or not node.inputs:
        return False
    if not all(operand is None or is_constant(operand) for operand in node.inputs):
        return False
    operands = [constant(operand) for operand in node.inputs]
    if not _worth_folding(node, operands):
        return False
    try:
        value = evaluate(node, operands)
    except Exception:  # noqa: BLE001 - the reference refuses what a runtime may take: left to it
        return False
    if value.dtype.kind in _TEXTS:
        return False
    return _replace(node, value, rewriter)


@rule("fold-shapes", *_ELEMENTS)
def fold_shapes(node: ir.Node, rewriter: Rewriter) -> bool:
    """Integers that follow from static dimensions → a constant."""
    output = node.outputs[0]
    if output.is_graph_output() or output.dtype not in (ir.DataType.INT64, ir.DataType.INT32):
        return False
    elements = known_elements(output)
    dims = static_dims(output)
    if elements is None or any(element is None for element in elements):
        return False
    if dims is None or len(dims) > 1 or int(np.prod(dims)) != len(elements):
        return False
    return _replace(node, np.array(elements, output.dtype.numpy()).reshape(dims), rewriter)


@rule("reshape-to-constant", "Reshape")
def reshape_to_constant(node: ir.Node, rewriter: Rewriter) -> bool:
    """A target shape with one unknown dimension → a constant shape with -1 there.

    Exact: the element count of a legal Reshape determines the one dimension left. A known 0 would
    mean `copy` in a constant, so such shapes are left alone.
    """
    shape = node.inputs[1]
    if shape is None or is_constant(shape) or shape.dtype is not ir.DataType.INT64:
        return False
    elements = known_elements(shape)
    if elements is None or any(e is not None and e <= 0 for e in elements):
        return False
    if sum(element is None for element in elements) > 1:
        return False
    array = np.array([-1 if e is None else e for e in elements], np.int64)
    old = shape.producer()
    rewriter.set_input(node, 1, rewriter.constant(array, f"{shape.name}_static"))
    if old is not None:
        rewriter.erase_dead(old)
    return True


def _worth_folding(node: ir.Node, operands: list[Array | None]) -> bool:
    arrays = [operand for operand in operands if operand is not None]
    if any(array.dtype.str[1:] not in _DTYPES for array in arrays):
        return False
    if _is_part(node) or _is_whole(node):
        return True
    if _takes_the_place(node, arrays):
        return True
    if node.op_type not in _LAYOUT:
        result = static_dims(node.outputs[0])
        size = 8 * math.prod(result) if result is not None else _bound(node, arrays)
        return max(size, sum(array.nbytes for array in arrays)) <= _SMALL_BYTES
    data = node.inputs[0]
    assert data is not None
    return arrays[0].nbytes <= _SMALL_BYTES or len(uses(data)) == 1


def _is_part(node: ir.Node) -> bool:
    """Whether all that reads the operand are slices, together no larger than it."""
    data = node.inputs[0]
    if node.op_type != "Slice" or data is None or data.is_graph_output():
        return False
    whole, total = static_dims(data), 0
    for use in uses(data):
        part = static_dims(use.node.outputs[0])
        if use.node.op_type != "Slice" or use.idx != 0 or part is None:
            return False
        total += int(np.prod(part))
    return whole is not None and total <= int(np.prod(whole))


def _takes_the_place(node: ir.Node, arrays: list[Array]) -> bool:
    """Whether what is selected is no larger than the table, which nothing else reads.

    So are the embeddings of positions where the length is fixed.
    """
    data, result = node.inputs[0], static_dims(node.outputs[0])
    if node.op_type not in _SELECTING or data is None or result is None:
        return False
    return len(uses(data)) == 1 and math.prod(result) <= arrays[0].size


def _is_whole(node: ir.Node) -> bool:
    """Whether a Concat is all that reads its operands."""
    if node.op_type != "Concat":
        return False
    return all(
        part is not None and len(uses(part)) == 1 and not part.is_graph_output()
        for part in node.inputs
    )


def _bound(node: ir.Node, arrays: list[Array]) -> int:
    """Upper bound of the result's bytes when its shape is unknown."""
    if node.op_type in ("ConstantOfShape", "Expand", "Tile"):
        counts = arrays[-1]
        return (
            8
            * math.prod(max(0, int(count)) for count in counts.ravel())
            * (arrays[0].size if len(arrays) > 1 else 1)
        )
    if node.op_type in ("Range", "Pad"):
        return _SMALL_BYTES + 1
    if node.op_type in ("MatMul", *_SELECTING):
        return 8 * math.prod(int(array.size) for array in arrays)
    if traits(node).elementwise or len(arrays) > 1:
        try:
            return 8 * math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
        except ValueError:
            pass  # no elementwise op: its result is no larger than its operands together
    return 8 * sum(int(array.size) for array in arrays)


def evaluate(node: ir.Node, operands: list[Array | None]) -> Array:
    """The node's value, by ONNX's reference implementation."""
    if node.op_type == "GatherElements":
        return _gather_elements(node, operands)
    if node.op_type == "CumSum" and operands[1] is not None:
        operands = [operands[0], operands[1].reshape(())]  # one element in a list is common
    names = ["" if operand is None else f"x{i}" for i, operand in enumerate(operands)]
    proto = onnx.helper.make_node(node.op_type, names, ["y"])
    proto.attribute.extend(ir.serde.serialize_attribute(a) for a in node.attributes.values())
    graph = onnx.helper.make_graph(
        [proto],
        "fold",
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in names if name],
        [onnx.helper.make_value_info("y", onnx.TypeProto())],
    )
    opsets = [onnx.helper.make_opsetid("", WORKING_OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opsets)
    feed = {name: array for name, array in zip(names, operands, strict=True) if name}
    results: Any = ReferenceEvaluator(model).run(None, feed)
    return np.asarray(results[0])


def _gather_elements(node: ir.Node, operands: list[Array | None]) -> Array:
    """ONNX's reference implementation refuses indices that are shorter than the data elsewhere."""
    data, indices = operands
    assert data is not None
    assert indices is not None
    axis = node.attributes.get_int("axis", 0) % data.ndim
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices
    return np.asarray(data[tuple(places)])


def _replace(node: ir.Node, array: Array, rewriter: Rewriter) -> bool:
    output = node.outputs[0]
    name = output.name or "folded"
    value = rewriter.constant(np.ascontiguousarray(array).reshape(array.shape), f"{name}_folded")
    rewriter.replace_uses(output, value)
    rewriter.erase_dead(node)
    return True
