"""Nodes that change nothing, and pairs of data movements that are one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from qcompiler.ir.element_types import UP_TO_SINGLE
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, rank, uses
from qcompiler.passes.canonical.algebra import operand_and_scalar
from qcompiler.passes.canonical.dims import known_elements, partial_dims, static_dims
from qcompiler.passes.canonical.rule import rule

_NEUTRAL = {"Mul": 1.0, "Div": 1.0, "Pow": 1.0, "Add": 0.0, "Sub": 0.0}
_ONE_SIDED = frozenset({"Div", "Pow", "Sub"})


def bypass(node: ir.Node, source: ir.Value | None, rewriter: Rewriter) -> bool:
    """Lets the users of the node's first output read `source`, if the names can stay."""
    output = node.outputs[0]
    if source is None:
        return False
    pinned = (
        source.is_graph_input()
        or source.is_initializer()
        or source.is_graph_output()
        or source.graph is not output.graph
    )
    if output.is_graph_output() and pinned:
        return False
    if source.shape is None:
        source.shape = output.shape
    rewriter.replace_uses(output, source)
    rewriter.erase_dead(node)
    return True


@rule("identity", "Identity")
def identity(node: ir.Node, rewriter: Rewriter) -> bool:
    """Identity(x) → x."""
    return bypass(node, node.inputs[0], rewriter)


@rule("dropout", "Dropout")
def dropout(node: ir.Node, rewriter: Rewriter) -> bool:
    """Dropout in inference mode → its input; kept when its mask is used."""
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    value = constant(mode)
    if mode is not None and (value is None or bool(value)):
        return False
    if any(uses(mask) or mask.is_graph_output() for mask in node.outputs[1:]):
        return False
    return bypass(node, node.inputs[0], rewriter)


@rule("no-op-cast", "Cast")
def no_op_cast(node: ir.Node, rewriter: Rewriter) -> bool:
    """Cast to the type that the value has."""
    source = node.inputs[0]
    if source is None or source.dtype is None:
        return False
    if node.attributes.get_int("to", 0) != source.dtype.value:
        return False
    return bypass(node, source, rewriter)


@rule("neutral-arithmetic", *_NEUTRAL)
def neutral_arithmetic(node: ir.Node, rewriter: Rewriter) -> bool:
    """x·1, x/1, x^1, x+0, x-0 → x, also with arrays of ones that do not widen the result."""
    for index in (1,) if node.op_type in _ONE_SIDED else (1, 0):
        operand, other = node.inputs[index], node.inputs[1 - index]
        array = constant(operand)
        if array is None or other is None or array.size > 4096:
            continue
        if not np.all(array == _NEUTRAL[node.op_type]) or not _keeps_shape(array.shape, other):
            continue
        return bypass(node, other, rewriter)
    return False


def _keeps_shape(shape: tuple[int, ...], other: ir.Value) -> bool:
    dims = partial_dims(other)
    if dims is None:
        return shape == ()
    if len(shape) > len(dims):
        return False
    tail = dims[len(dims) - len(shape) :]
    return all(ours in (1, theirs) for ours, theirs in zip(shape, tail, strict=True))


@rule("square", "Pow")
def square(node: ir.Node, rewriter: Rewriter) -> bool:
    """x² → x·x and x^½ → √x: ONNX Runtime's Pow takes twice the time of Mul."""
    found = operand_and_scalar(node)
    if found is None or found[0] is not node.inputs[0] or found[0].dtype not in UP_TO_SINGLE:
        return False
    if found[1] == 2.0:
        rewriter.recompose(node.outputs[0], "Mul", [found[0], found[0]])
    elif found[1] == 0.5:
        rewriter.recompose(node.outputs[0], "Sqrt", [found[0]])
    else:
        return False
    return True


@rule("divide-by-constant", "Div")
def divide_by_constant(node: ir.Node, rewriter: Rewriter) -> bool:
    """x/c → x·(1/c) within 1.5 ulp; ONNX Runtime's Div takes 1.8 times as long as its Mul."""
    divisor = node.inputs[1]
    array = constant(divisor)
    if divisor is None or array is None or divisor.dtype not in UP_TO_SINGLE or array.size > 65536:
        return False
    if constant(node.inputs[0]) is not None:
        return False
    exact = array.astype(np.float64)
    if not np.all(np.isfinite(exact)) or np.any(exact == 0):
        return False
    reciprocal = np.asarray(1.0 / exact).astype(array.dtype)
    tiny = (
        float(np.finfo(np.float32).tiny) if array.dtype.kind != "f" else np.finfo(array.dtype).tiny
    )
    size = np.abs(reciprocal.astype(np.float64))
    if not np.all(np.isfinite(size)) or np.any(size < float(tiny)):
        return False
    factor = rewriter.constant(reciprocal, f"{divisor.name}_reciprocal")
    rewriter.recompose(node.outputs[0], "Mul", [node.inputs[0], factor])
    return True


@rule("reshapes", "Reshape")
def reshapes(node: ir.Node, rewriter: Rewriter) -> bool:
    """Reshape of a reshape → one; Reshape to the shape that the value has → its input."""
    source = node.inputs[0]
    target = known_elements(node.inputs[1])
    if source is None or target is None:
        return False
    if node.attributes.get_int("allowzero", 0) == 0 and 0 in target:
        return False
    dims = partial_dims(source)
    if dims is not None and _same_shape(dims, target):
        return bypass(node, source, rewriter)
    inner = source.producer()
    if inner is None or not is_op(inner, "Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        return False
    rewriter.set_input(node, 0, inner.inputs[0])
    rewriter.erase_dead(inner)
    return True


def _same_shape(dims: tuple[int | None, ...], target: tuple[int | None, ...]) -> bool:
    """Whether a Reshape to `target` keeps the shape: at most one dimension open, the same one."""
    if len(dims) != len(target):
        return False
    open_dims = sum(want in (-1, None) for want in target)
    pairs = zip(dims, target, strict=True)
    return open_dims <= 1 and all(
        want in (-1, None) or (have is not None and have == want) for have, want in pairs
    )


@rule("no-op-movement", "Expand", "Tile", "Pad", "Slice", "Concat")
def no_op_movement(node: ir.Node, rewriter: Rewriter) -> bool:
    """Expand, Tile, Pad, Slice and Concat that return their operand."""
    return _MOVES_NOTHING[node.op_type](node) and bypass(node, node.inputs[0], rewriter)


def _all_elements(value: ir.Value | None, wanted: int) -> bool:
    array = constant(value)
    return array is not None and bool(np.all(array == wanted))


def _expands_nothing(node: ir.Node) -> bool:
    have, want = static_dims(node.inputs[0]), known_elements(node.inputs[1])
    if want is None or rank(node.inputs[0]) is None:
        return False
    if all(element == 1 for element in want):
        return len(want) <= (rank(node.inputs[0]) or 0)
    return have is not None and tuple(want) == have


def _slices_nothing(node: ir.Node) -> bool:
    starts, ends = constant(node.inputs[1]), constant(node.inputs[2])
    steps = node.inputs[4] if len(node.inputs) > 4 else None
    if starts is None or ends is None or np.any(starts != 0):
        return False
    beyond_any_dimension = bool(np.all(ends >= np.iinfo(np.int32).max))
    return beyond_any_dimension and (steps is None or _all_elements(steps, 1))


_MOVES_NOTHING: dict[str, Callable[[ir.Node], bool]] = {
    "Expand": _expands_nothing,
    "Tile": lambda node: _all_elements(node.inputs[1], 1),
    "Pad": lambda node: _all_elements(node.inputs[1], 0),
    "Slice": _slices_nothing,
    "Concat": lambda node: len(node.inputs) == 1,
}
