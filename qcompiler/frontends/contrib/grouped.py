"""GroupQueryAttention: several heads of queries read one head of keys, behind a cache.

Source: ONNX Runtime, docs/ContribOperators.md, and what its CPU kernel computes. A sequence of the
batch has `seqlens_k + 1` tokens, the new ones included; a cache may be longer than what it holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir as ir

from qcompiler.frontends.contrib.attention_masks import LOWEST, filtered
from qcompiler.frontends.contrib.spelling import NotSpelt, Spell, Spelling

_KEY_CACHE, _VALUE_CACHE, _LENGTHS, _TOTAL = range(3, 7)
_COSINES, _SINES, _POSITIONS, _BIAS, _SINK = range(7, 12)
_CLOSED = ("k_quant_type", "v_quant_type")


@dataclass(frozen=True, eq=False)
class Lengths:
    """Sizes that are known at run time.

    Attributes:
        new: int64[1], tokens of this call: S.
        total: int64[1], tokens of the longest sequence, the new ones included.
        past: int64[B, 1], tokens that each sequence had before.
        ends: int64[B, 1], tokens of each sequence, without what fills it.
    """

    new: ir.Value
    total: ir.Value
    past: ir.Value
    ends: ir.Value


def _grouped(form: Spelling) -> None:
    """(query, key?, value?, past key?, past value?, lengths, total, …) → (output, present …)."""
    _refuse(form)
    parts = _apart(form)
    queries, keys, values = (
        _by_head(form, part, count)
        for part, count in zip(parts, (_heads(form), _groups(form), _groups(form)), strict=True)
    )
    lengths = _lengths(form, queries)
    if form.integer("do_rotary", 0):
        positions = _positions(form, lengths)
        queries, keys = (_rotated(form, each, positions) for each in (queries, keys))
    present = (
        _cached(form, form.operand(_KEY_CACHE), keys, lengths),
        _cached(form, form.operand(_VALUE_CACHE), values, lengths),
    )
    result = _attended(form, queries, present, lengths)
    form.finish({0: result, 1: present[0], 2: present[1]})


def _refuse(form: Spelling) -> None:
    """Caches in integers or of one window, norms inside and scores as an output."""
    if any(form.text(name, "NONE") != "NONE" for name in _CLOSED):
        raise NotSpelt("its cache holds integers")
    if form.integer("sliding_window_cache", 0):
        raise NotSpelt("its cache holds one window")
    if any(form.operand(index) is not None for index in range(_SINK + 1, 16)):
        raise NotSpelt("it norms queries and keys itself")


def _heads(form: Spelling) -> int:
    return form.positive("num_heads")


def _groups(form: Spelling) -> int:
    return form.positive("kv_num_heads")


def _apart(form: Spelling) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Queries, keys and values as [B, S, width], which may come packed side by side."""
    query, key, value = form.needed(0), form.operand(1), form.operand(2)
    if key is not None and value is not None:
        return query, key, value
    size = form.static(query, -1) // (_heads(form) + 2 * _groups(form))
    sizes = [_heads(form) * size, _groups(form) * size, _groups(form) * size]
    first, second, third = form.ops("Split", [query, form.ints(sizes)], 3, axis=-1)
    return first, second, third


def _by_head(form: Spelling, value: ir.Value, heads: int) -> ir.Value:
    """[B, S, width] → [B, N, S, size]."""
    split = form.op("Reshape", value, form.ints([0, 0, heads, -1]))
    return form.op("Transpose", split, perm=[0, 2, 1, 3])


def _lengths(form: Spelling, queries: ir.Value) -> Lengths:
    """A first call has no past, however long its sequences are without what fills them."""
    int64 = ir.DataType.INT64.value
    new = form.size(queries, 2)
    total = form.op("Reshape", form.op("Cast", form.needed(_TOTAL), to=int64), form.ints([1]))
    last = form.op("Cast", form.needed(_LENGTHS), to=int64)
    ends = form.op("Add", form.op("Reshape", last, form.ints([-1, 1])), form.ints(1))
    past = form.op("Sub", ends, new)
    first = form.op("Equal", new, total)
    return Lengths(new, total, form.op("Where", first, form.ints(0), past), ends)


def _positions(form: Spelling, lengths: Lengths) -> ir.Value:
    """[B, S]; of those that are given, a first call looks at one only."""
    counted = form.counted(lengths.new)
    given = form.operand(_POSITIONS)
    if given is None:
        return form.op("Add", lengths.past, counted)
    start = form.op("Slice", given, form.ints([0, 0]), form.ints([1, 1]), form.ints([0, 1]))
    first = form.op("Equal", lengths.new, lengths.total)
    return form.op("Where", first, form.op("Add", start, counted), given)


def _rotated(form: Spelling, value: ir.Value, positions: ir.Value) -> ir.Value:
    """RotaryEmbedding of [B, N, S, size], which is spelt in its turn."""
    cosines = form.needed(_COSINES)
    attributes = {
        "interleaved": form.integer("rotary_interleaved", 0), "num_heads": _heads(form),
        "rotary_embedding_dim": 2 * form.static(cosines, -1),
    }  # fmt: skip
    made = form.rewriter.insert(
        "RotaryEmbedding", [value, positions, cosines, form.needed(_SINES)], before=form.node,
        attributes=attributes, domain="com.microsoft", dtype=form.needed(0).dtype,
        shape=ir.Shape([None] * 4),
    )  # fmt: skip
    form.made.append(made)
    return made.outputs[0]


def _cached(form: Spelling, past: ir.Value | None, new: ir.Value, lengths: Lengths) -> ir.Value:
    """New keys or values behind those of each sequence, as long as the cache or longer.

    Row j of the result is row j of the past, or one of the new ones behind it.
    """
    if past is None:
        return new
    joined = form.op("Concat", past, new, axis=2)
    room = form.size(past, 2)
    rows = form.counted(form.op("Max", room, lengths.total))
    behind = form.op("Sub", rows, lengths.past)  # [B, rows]
    is_new = form.op(
        "And",
        form.op("GreaterOrEqual", behind, form.ints(0)),
        form.op("Less", behind, lengths.new),
    )
    last = form.op("Sub", form.size(joined, 2), form.ints(1))
    kept = form.op("Min", rows, last)  # beyond a sequence nothing is said
    chosen = form.op("Where", is_new, form.op("Add", behind, room), kept)
    shape = form.shape(form.size(joined, 0), form.size(joined, 1), form.size(rows, 0), 1)
    index = form.op("Expand", form.op("Unsqueeze", chosen, form.ints([1, 3])), shape)
    return form.op("GatherND", joined, index, batch_dims=2)


def _attended(
    form: Spelling, queries: ir.Value, present: tuple[ir.Value, ir.Value], lengths: Lengths
) -> ir.Value:
    """softmax(softcap(scale · Q · Kᵀ) + masks) · V with heads side by side: [B, S, width]."""
    axis, start = form.ints([2]), form.ints([0])
    keys, values = (form.op("Slice", each, start, lengths.total, axis) for each in present)
    groups = _folded(form, lengths)
    folded = form.op("Reshape", queries, groups)
    turned = form.op("Transpose", keys, perm=[0, 1, 3, 2])
    product = form.op("MatMul", folded, turned)
    heads = form.shape(0, _heads(form), lengths.new, -1)
    scores = form.op("Reshape", product, heads)
    data = form.needed(0)
    scores = form.op("Mul", scores, _scale(form))
    cap = form.number("softcap", 0.0)
    if cap > 0:
        bound = form.like(cap, data)
        scores = form.op("Mul", form.op("Tanh", form.op("Div", scores, bound)), bound)
    masked = form.added(scores, form.operand(_BIAS), _mask(form, lengths))
    shares = _softmax(form, masked, lengths)
    result = form.op("MatMul", form.op("Reshape", shares, groups), values)
    result = form.op("Reshape", result, heads)
    turned = form.op("Transpose", result, perm=[0, 2, 1, 3])
    return form.op("Reshape", turned, form.ints([0, 0, -1]))


def _folded(form: Spelling, lengths: Lengths) -> ir.Value:
    """int64[4]: the shape that puts the queries of one group under each other."""
    groups = _groups(form)
    rows = form.op("Mul", lengths.new, form.ints([_heads(form) // groups]))
    return form.shape(0, groups, rows, -1)


def _scale(form: Spelling) -> ir.Value:
    """The attribute, or 1 / sqrt(size of a head)."""
    data = form.needed(0)
    given = form.number("scale", 0.0)
    if given:
        return form.like(given, data)
    packed = form.operand(1) is None
    heads = _heads(form) + (2 * _groups(form) if packed else 0)
    return form.like(1 / math.sqrt(form.static(data, -1) // heads), data)


def _mask(form: Spelling, lengths: Lengths) -> ir.Value:
    """Keys that a query does not see, as numbers to add: [B, 1, S, total]."""
    keys = form.counted(lengths.total)
    if not form.integer("causal", 1):
        seen = form.op("Less", keys, form.op("Unsqueeze", lengths.ends, form.ints([1, 2])))
    else:
        past = form.op("Unsqueeze", lengths.past, form.ints([1, 2]))  # [B, 1, 1, 1]
        rows = form.op("Unsqueeze", form.counted(lengths.new), form.ints([1]))
        own = form.op("Add", past, rows)
        seen = form.op("LessOrEqual", keys, own)
        window = form.integer("local_window_size", -1)
        if window > 0:
            first = form.op("Sub", own, form.ints(window))
            seen = form.op("And", seen, form.op("Greater", keys, first))
    return filtered(form, seen, LOWEST)


def _softmax(form: Spelling, scores: ir.Value, lengths: Lengths) -> ir.Value:
    """Over keys; a sink takes its share and is left out."""
    sink = form.operand(_SINK)
    if sink is None and not form.integer("smooth_softmax", 0):
        return form.op("Softmax", scores, axis=-1)
    if sink is None:
        sink = form.like(0.0, form.needed(0))
    else:
        sink = form.op("Reshape", sink, form.ints([1, -1, 1, 1]))
    column = form.shape(form.size(scores, 0), _heads(form), lengths.new, 1)
    joined = form.op("Concat", scores, form.op("Expand", sink, column), axis=-1)
    shares = form.op("Softmax", joined, axis=-1)
    return form.op("Slice", shares, form.ints([0]), form.ints([-1]), form.ints([3]))


GROUPED: Mapping[str, Spell] = MappingProxyType({"GroupQueryAttention": _grouped})
