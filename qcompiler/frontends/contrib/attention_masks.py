"""What is added to the scores of a fused attention: padding, causality, a bias.

Source: ONNX Runtime's CPU kernels add `mask_filter_value` to keys that padding forbids, and the
lowest number of the type to those behind their query.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qcompiler.frontends.contrib.spelling import NotSpelt, Spelling

_MEGATRON = 4
LOWEST = float(np.finfo(np.float32).min)


def padding_mask(
    form: Spelling, mask: ir.Value, keys: ir.Value, batch: int | ir.SymbolicDim
) -> ir.Value:
    """Forbidden positions by padding, as numbers to add, broadcastable to [B, N, S, T].

    Args:
        form: The attention.
        mask: int32: [B, T] or [B, S, T] with 1 where a key counts; [B] ends, or [2·B] ends and
            starts of the keys that count.
        keys: int64[1]: T.
        batch: B, as far as it is known.
    """
    dims = form.rank(mask)
    if dims >= _MEGATRON:
        raise NotSpelt("its mask has four axes")
    if dims == 1:
        return filtered(form, _between(form, mask, keys, batch), _padded(form))
    axes = [1, 2] if dims == 2 else [1]
    allowed = form.op("Greater", mask, form.op("CastLike", form.ints(0), mask))
    return filtered(form, form.op("Unsqueeze", allowed, form.ints(axes)), _padded(form))


def causal_mask(form: Spelling, queries: ir.Value, keys: ir.Value) -> ir.Value:
    """Keys behind their query, as numbers to add, [S, T]; S and T are int64[1]."""
    past = form.op("Sub", keys, queries)
    rows = form.op("Add", form.counted(queries), past)
    allowed = form.op("LessOrEqual", form.counted(keys), form.op("Unsqueeze", rows, form.ints([1])))
    return filtered(form, allowed, LOWEST)


def _between(
    form: Spelling, mask: ir.Value, keys: ir.Value, batch: int | ir.SymbolicDim
) -> ir.Value:
    """Whether a key lies before the end of its sequence, and not before its start: [B, 1, 1, T]."""
    length = None if mask.shape is None else mask.shape[0]
    mask = form.op("Cast", mask, to=ir.DataType.INT64.value)
    positions = form.counted(keys)
    if length == batch and (isinstance(batch, int) or batch.value is not None):
        return form.op("Less", positions, _column(form, mask))
    if isinstance(batch, int) and length == 2 * batch:
        ends, starts = form.ops("Split", [mask], 2, axis=0, num_outputs=2)
        before = form.op("Less", positions, _column(form, ends))
        behind = form.op("GreaterOrEqual", positions, _column(form, starts))
        return form.op("And", before, behind)
    raise NotSpelt("whether its mask holds ends, or ends and starts, is not known")


def _column(form: Spelling, value: ir.Value) -> ir.Value:
    return form.op("Reshape", value, form.ints([-1, 1, 1, 1]))


def filtered(form: Spelling, allowed: ir.Value, lowest: float) -> ir.Value:
    """0 where it is allowed, a number far below all scores elsewhere."""
    data = form.needed(0)
    return form.op("Where", allowed, form.like(0.0, data), form.like(lowest, data))


def _padded(form: Spelling) -> float:
    return form.number("mask_filter_value", -10000.0)
