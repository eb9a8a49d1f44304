"""Normalizations with a sum in front of them, and the embeddings of BERT-like networks.

Source: ONNX Runtime, docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from qcompiler.frontends.contrib.spelling import NotSpelt, Spell, Spelling

_EPSILON = 1e-12
"""Default of the fused normalizations; LayerNormalization's is 1e-5."""


def _skip_layer_norm(form: Spelling) -> None:
    """(input, skip, gamma, beta?, bias?) → (output, mean?, 1/deviation?, sum?)."""
    total = form.added(form.needed(0), form.needed(1), form.operand(4))
    operands = [total, form.needed(2), *([beta] if (beta := form.operand(3)) else [])]
    count = 3 if form.wants(1) or form.wants(2) else 1
    epsilon = form.number("epsilon", _EPSILON)
    made = form.ops("LayerNormalization", operands, count, axis=-1, epsilon=epsilon)
    form.finish({**dict(enumerate(made)), 3: total})


def _skip_rms_norm(form: Spelling) -> None:
    """(input, skip, gamma, bias?) → (output, -, -, sum?)."""
    total = form.added(form.needed(0), form.needed(1), form.operand(3))
    epsilon = form.number("epsilon", _EPSILON)
    output, _ = _rms(form, total, form.needed(2), -1, epsilon)
    form.finish({0: output, 3: total})


def _rms_norm(form: Spelling) -> None:
    """(X, scale) → (Y, 1/deviation?)."""
    axis = form.integer("axis", -1)
    data = form.needed(0)
    if axis >= 0:
        axis -= form.rank(data)
    epsilon = form.number("epsilon", 1e-5)
    output, inverse = _rms(form, data, form.needed(1), axis, epsilon)
    form.finish({0: output, 1: inverse})


def _rms(
    form: Spelling, data: ir.Value, scale: ir.Value, axis: int, epsilon: float
) -> tuple[ir.Value, ir.Value]:
    """x / sqrt(mean(x²) + ε) · scale over the axes from `axis` on; statistics in float32."""
    dtype = form.needed(0).dtype
    if dtype is None:
        raise NotSpelt("its element type is not known")
    narrow = dtype is not ir.DataType.FLOAT
    wide = form.op("Cast", data, to=ir.DataType.FLOAT.value) if narrow else data
    axes = form.ints(list(range(axis, 0)))
    mean = form.op("ReduceMean", form.op("Mul", wide, wide), axes)
    number = form.rewriter.constant(np.array(epsilon, np.float32), f"{form.node.name}_epsilon")
    root = form.op("Sqrt", form.op("Add", mean, number))
    normal = form.op("Div", wide, root)
    if narrow:
        normal = form.op("Cast", normal, to=dtype.value)
    return form.op("Mul", normal, scale), form.op("Reciprocal", root)


def _embed(form: Spelling) -> None:
    """EmbedLayerNormalization: words, positions and segments looked up, added and normalized.

    Operands: ids, segment ids?, words, positions, segments?, gamma, beta, mask?, position ids?.
    """
    ids = form.needed(0)
    words = form.op("Gather", form.needed(2), ids)
    total = form.added(words, _positions(form, ids), _segments(form))
    epsilon = form.number("epsilon", _EPSILON)
    operands = [total, form.needed(5), form.needed(6)]
    output = form.op("LayerNormalization", *operands, axis=-1, epsilon=epsilon)
    counts = _lengths(form, ids) if form.wants(1) else None
    form.finish({0: output, 1: counts, 2: total})


def _quantized_embed(form: Spelling) -> None:
    """QEmbedLayerNormalization: (ids, segment ids?, 5 tables, mask?, 5 scales, 5 zero points).

    It becomes EmbedLayerNormalization of dequantized tables, which is spelt in its turn.
    """
    tables = []
    for index in range(5):
        operands = [form.operand(each) for each in (2 + index, 8 + index, 13 + index)]
        tables.append(None if None in operands else form.op("DequantizeLinear", *operands))
    attributes = form.attributes("epsilon", "mask_index_type")
    operands = [form.needed(0), form.operand(1), *tables, form.operand(7)]
    form.end("EmbedLayerNormalization", *operands, **attributes)
    form.node.domain = "com.microsoft"


def _positions(form: Spelling, ids: ir.Value) -> ir.Value:
    """Rows of the table at the given positions; its first ones where none are given."""
    table, given = form.needed(3), form.operand(8)
    if given is not None:
        return form.op("Gather", table, given)
    return form.op("Slice", table, form.ints([0]), form.size(ids, 1), form.ints([0]))


def _segments(form: Spelling) -> ir.Value | None:
    table, ids = form.operand(4), form.operand(1)
    return None if table is None or ids is None else form.op("Gather", table, ids)


def _lengths(form: Spelling, ids: ir.Value) -> ir.Value:
    """int32[batch]: ones of the mask, zeros without a mask."""
    mask = form.operand(7)
    if form.integer("mask_index_type", 1) == 0:
        mask = None
    int32 = ir.DataType.INT32.value
    if mask is None:
        nothing = form.rewriter.constant(np.zeros(1, np.int32), f"{form.node.name}_none")
        return form.op("Expand", nothing, form.size(ids, 0))
    ones = form.op(
        "Cast", form.op("Equal", mask, form.op("CastLike", form.ints(1), mask)), to=int32
    )
    return form.op("ReduceSum", ones, form.ints([1]), keepdims=0)


NORMS: Mapping[str, Spell] = MappingProxyType(
    {
        "EmbedLayerNormalization": _embed,
        "QEmbedLayerNormalization": _quantized_embed,
        "SimplifiedLayerNormalization": _rms_norm,
        "SkipLayerNormalization": _skip_layer_norm,
        "SkipSimplifiedLayerNormalization": _skip_rms_norm,
    }
)
