"""Fused attention, spelt as its products.

Source: ONNX Runtime, docs/ContribOperators.md (Attention, MultiHeadAttention, QAttention), and its
CPU kernels for what masks do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir as ir

from qcompiler.frontends.contrib.attention_masks import causal_mask, padding_mask
from qcompiler.frontends.contrib.spelling import NotSpelt, Spell, Spelling


@dataclass(frozen=True, eq=False)
class Heads:
    """Queries, keys and values as [B, N, length, size], and what stood in front of them."""

    queries: ir.Value
    keys: ir.Value
    values: ir.Value


def _attention(form: Spelling) -> None:
    """(input, weights, bias?, mask?, past?, attention bias?) → (output, present?)."""
    _refuse_shared(form, 6)
    product = form.op("MatMul", form.needed(0), form.needed(1))
    heads, width = _packed(form, product, form.operand(2), form.needed(1))
    past = form.operand(4)
    if past is not None:
        parts = [form.op("Gather", past, form.ints(index), axis=0) for index in (0, 1)]
        heads = _behind(form, heads, *parts)
    scores = _scores(form, heads, form.operand(3), form.operand(5))
    present = None
    if form.wants(1):
        rows = [form.op("Unsqueeze", v, form.ints([0])) for v in (heads.keys, heads.values)]
        present = form.op("Concat", *rows, axis=0)
    form.finish({0: _joined(form, scores, heads.values, width), 1: present})


def _quantized_attention(form: Spelling) -> None:
    """QAttention (input, weights, bias, input scale, weight scale, mask?, zero points?, past?).

    It becomes Attention of dequantized operands, which is spelt in its turn.
    """
    data = form.op("DequantizeLinear", form.needed(0), form.needed(3), form.operand(6))
    weight, scale, zero = form.needed(1), form.needed(4), form.operand(7)
    single = form.rank(scale) == 0 or form.stored(4).size == 1
    axis = {} if single else {"axis": 1}
    weights = form.op("DequantizeLinear", weight, scale, zero, **axis)
    weights.shape, weights.type = weight.shape, ir.TensorType(ir.DataType.FLOAT)
    data.shape, data.type = form.needed(0).shape, ir.TensorType(ir.DataType.FLOAT)
    names = ("mask_filter_value", "num_heads", "scale", "unidirectional", "do_rotary")
    kept = form.attributes(*names)
    operands = [data, weights, form.needed(2), form.operand(5), form.operand(8)]
    form.end("Attention", *operands, **kept)
    form.node.domain = "com.microsoft"


def _multi_head(form: Spelling) -> None:
    """(query, key?, value?, bias?, mask?, attention bias?, past key?, past value?)."""
    _refuse_shared(form, 8)
    heads, width = _separate(form)
    key, value = form.operand(6), form.operand(7)
    if key is not None and value is not None:
        heads = _behind(form, heads, key, value)
    scores = _scores(form, heads, form.operand(4), form.operand(5))
    output = _joined(form, scores, heads.values, width)
    form.finish({0: output, 1: heads.keys, 2: heads.values})


def _packed(
    form: Spelling, product: ir.Value, bias: ir.Value | None, weights: ir.Value
) -> tuple[Heads, int]:
    """Heads of queries, keys and values that one product gave, and the width of the values."""
    columns = form.static(weights, -1)
    listed = form.node.attributes.get("qkv_hidden_sizes")
    sizes = [columns // 3] * 3 if listed is None else list(listed.as_ints())
    total = form.added(product, bias)
    parts = form.ops("Split", [total, form.ints(sizes)], 3, axis=-1)
    return Heads(*(_by_head(form, part) for part in parts)), sizes[2]


def _separate(form: Spelling) -> tuple[Heads, int]:
    """Heads of MultiHeadAttention, whose keys and values may be laid out by head already."""
    query, key, value = form.needed(0), form.operand(1), form.operand(2)
    if key is None or value is None or form.rank(query) != 3:
        raise NotSpelt("its operands are packed, which ONNX Runtime's CPU kernel does not take")
    if form.rank(key) == 4:  # [B, N, L, size]
        return Heads(_biased(form, query, 0), key, value), _heads(form) * form.static(value, -1)
    width = form.static(value, -1)
    return Heads(*(_biased(form, each, i) for i, each in enumerate((query, key, value)))), width


def _biased(form: Spelling, value: ir.Value, index: int) -> ir.Value:
    """Queries (0), keys (1) or values (2) of [B, L, width] by head, with their part of the bias."""
    bias = form.operand(3)
    if bias is not None:
        width = form.static(form.needed(0), -1)
        first = index * width
        last = first + width if index < 2 else 2**31
        part = form.op("Slice", bias, form.ints([first]), form.ints([last]), form.ints([0]))
        value = form.op("Add", value, part)
    return _by_head(form, value)


def _by_head(form: Spelling, value: ir.Value) -> ir.Value:
    """[B, L, width] → [B, N, L, size]."""
    split = form.op("Reshape", value, form.ints([0, 0, _heads(form), -1]))
    return form.op("Transpose", split, perm=[0, 2, 1, 3])


def _behind(form: Spelling, heads: Heads, keys: ir.Value, values: ir.Value) -> Heads:
    """Keys and values behind those of earlier steps."""
    joined = [
        form.op("Concat", *pair, axis=2) for pair in ((keys, heads.keys), (values, heads.values))
    ]
    return Heads(heads.queries, *joined)


def _scores(form: Spelling, heads: Heads, mask: ir.Value | None, bias: ir.Value | None) -> ir.Value:
    """softmax(scale · Q · Kᵀ + masks)."""
    data = form.needed(0)
    turned = form.op("Transpose", heads.keys, perm=[0, 1, 3, 2])
    product = form.op("MatMul", heads.queries, turned)
    scaled = form.op("Mul", product, _scale(form, data))
    parts: list[ir.Value | None] = [bias]
    causal = form.integer("unidirectional", 0)
    if mask is not None or causal:
        keys = form.size(heads.keys, 2)
        if mask is not None:
            batch = data.shape[0] if data.shape is not None else ir.SymbolicDim(None)
            parts.append(padding_mask(form, mask, keys, batch))
        if causal:
            parts.append(causal_mask(form, form.size(heads.queries, 2), keys))
    return form.op("Softmax", form.added(scaled, *parts), axis=-1)


def _scale(form: Spelling, data: ir.Value) -> ir.Value:
    """The attribute, or 1 / sqrt(size of a head)."""
    given = form.number("scale", 0.0)
    if given:
        return form.like(given, data)
    size = _head_size(form)
    return form.like(1 / math.sqrt(size), data)


def _head_size(form: Spelling) -> int:
    """Size of a head of queries."""
    if form.node.op_type == "Attention":
        listed = form.node.attributes.get("qkv_hidden_sizes")
        width = form.static(form.needed(1), -1) // 3 if listed is None else listed.as_ints()[0]
        return width // _heads(form)
    return form.static(form.needed(0), -1) // _heads(form)


def _joined(form: Spelling, scores: ir.Value, values: ir.Value, width: int) -> ir.Value:
    """scores · V with the heads side by side again: [B, S, width]."""
    product = form.op("MatMul", scores, values)
    turned = form.op("Transpose", product, perm=[0, 2, 1, 3])
    return form.op("Reshape", turned, form.ints([0, 0, width]))


def _heads(form: Spelling) -> int:
    return form.positive("num_heads")


def _refuse_shared(form: Spelling, first: int) -> None:
    """Caches that one buffer holds, and positions turned inside, have no spelling."""
    shared = form.integer("past_present_share_buffer", 0) or form.integer("do_rotary", 0)
    if shared or any(form.operand(index) is not None for index in range(first, 10)):
        raise NotSpelt("its cache is one shared buffer, or it turns positions itself")


ATTENTION: Mapping[str, Spell] = MappingProxyType(
    {
        "Attention": _attention,
        "MultiHeadAttention": _multi_head,
        "QAttention": _quantized_attention,
    }
)
