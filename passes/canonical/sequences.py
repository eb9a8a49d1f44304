"""Sequences whose elements are known, as the tensors in them.

Exporters write lists of Python as SequenceConstruct, SequenceInsert and SplitToSequence, of which
SequenceAt or ConcatFromSequence takes tensors again. No engine has integers in sequences,
and some know none.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import onnx_ir as ir

from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant, is_op, rank, scalar
from qcompiler.passes.canonical.dims import partial_dims
from qcompiler.passes.canonical.identities import bypass
from qcompiler.passes.canonical.rule import rule


@rule("sequence-at", "SequenceAt")
def sequence_at(node: ir.Node, rewriter: Rewriter) -> bool:
    """SequenceAt with a constant position → the element, or the slice that it is."""
    position = scalar(node.inputs[1])
    sequence = node.inputs[0]
    if position is None or sequence is None:
        return False
    listed = elements(sequence)
    if listed is not None:
        inside = -len(listed) <= position < len(listed)
        return inside and bypass(node, listed[int(position)], rewriter)
    split = sequence.producer()
    if split is None or not is_op(split, "SplitToSequence"):
        return False
    return _cut(node, split, int(position), rewriter)


@rule("concat-from-sequence", "ConcatFromSequence")
def concat_from_sequence(node: ir.Node, rewriter: Rewriter) -> bool:
    """ConcatFromSequence of known elements → Concat; of what was just split → what it was."""
    sequence = node.inputs[0]
    if sequence is None:
        return False
    axis, stacked = node.attributes.get_int("axis", 0), node.attributes.get_int("new_axis", 0)
    split = sequence.producer()
    if split is not None and is_op(split, "SplitToSequence"):
        return _rejoined(node, split, axis, bool(stacked), rewriter)
    listed = elements(sequence)
    if not listed:
        return False
    if stacked:
        axes = rewriter.constant(np.array([axis], np.int64), "axes")
        made = [rewriter.insert("Unsqueeze", [each, axes], before=node) for each in listed]
        listed = [each.outputs[0] for each in made]
    rewriter.recompose(node.outputs[0], "Concat", listed, attributes={"axis": axis})
    return True


def elements(sequence: ir.Value) -> list[ir.Value] | None:
    """The tensors of a sequence, in order; None where they are not known before it runs."""
    inserts: list[ir.Node] = []
    node = sequence.producer()
    while node is not None and is_op(node, "SequenceInsert"):
        inserts.append(node)
        node = None if node.inputs[0] is None else node.inputs[0].producer()
    if node is None or not is_op(node, "SequenceEmpty", "SequenceConstruct"):
        return None
    found = [value for value in node.inputs if value is not None]
    for each in reversed(inserts):
        position = _place(each, len(found))
        if position is None or each.inputs[1] is None:
            return None
        found.insert(position, each.inputs[1])
    return found


def _place(insert: ir.Node, length: int) -> int | None:
    """Where a SequenceInsert puts its tensor; None where it is not known, or out of bounds."""
    if len(insert.inputs) < 3 or insert.inputs[2] is None:
        return length
    position = scalar(insert.inputs[2])
    inside = position is not None and -length <= position <= length
    return int(position) if inside and position is not None else None


def _cut(node: ir.Node, split: ir.Node, position: int, rewriter: Rewriter) -> bool:
    """The element of a SplitToSequence as a Slice, without its axis where it keeps none."""
    data = split.inputs[0]
    bounds = _bounds(split, position)
    if data is None or bounds is None or data.graph is not node.outputs[0].graph:
        return False
    axis = split.attributes.get_int("axis", 0)
    ends = [rewriter.constant(np.array([each], np.int64), "bound") for each in (*bounds, axis)]
    whole = len(split.inputs) > 1 and split.inputs[1] is not None
    if whole or split.attributes.get_int("keepdims", 1) != 0:
        rewriter.recompose(node.outputs[0], "Slice", [data, *ends])
        return True
    part = rewriter.insert("Slice", [data, *ends], before=node, dtype=data.dtype)
    rewriter.recompose(node.outputs[0], "Squeeze", [part.outputs[0], ends[2]])
    return True


def _bounds(split: ir.Node, position: int) -> tuple[int, int] | None:
    """Start and end of one element; None where it depends on a size that is not known."""
    sizes = split.inputs[1] if len(split.inputs) > 1 else None
    axis = split.attributes.get_int("axis", 0)
    dims = partial_dims(split.inputs[0])
    length = None if dims is None else dims[axis]
    given = constant(sizes)
    if sizes is not None and given is None:
        return None
    if given is not None and given.ndim == 1:
        ends = [0, *accumulate(int(each) for each in given)]
        inside = -given.size <= position < given.size
        at = position % given.size if inside else 0
        return (ends[at], ends[at + 1]) if inside else None
    step = 1 if given is None else int(given)
    if position < 0 and length is not None:
        position += -(-length // step)
    if position < 0 or (length is not None and position * step >= length):
        return None
    return position * step, (position + 1) * step


def _rejoined(node: ir.Node, split: ir.Node, axis: int, stacked: bool, rewriter: Rewriter) -> bool:
    """Split and joined along one axis: the value itself."""
    data = split.inputs[0]
    dims = rank(data)
    whole = len(split.inputs) > 1 and split.inputs[1] is not None
    kept = whole or bool(split.attributes.get_int("keepdims", 1))
    if dims is None or kept is stacked:
        return False
    if axis % dims != split.attributes.get_int("axis", 0) % dims:
        return False
    return bypass(node, data, rewriter)
