"""RotaryEmbedding of ONNX Runtime (positions turned into the values).

Source: ONNX Runtime, docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import onnx_ir as ir

from qcompiler.frontends.contrib.spelling import NotSpelt, Spell, Spelling


def _rotary(form: Spelling) -> None:
    """(input [B, S, N·size] or [B, N, S, size], positions [1] or [B, S], cosines, sines)."""
    if form.integer("is_packed_batching", 0) or form.number("scale", 1.0) != 1:
        raise NotSpelt("it is packed or scaled")
    data = form.needed(0)
    flat = form.rank(data) == 3
    half = form.static(form.needed(2), -1)
    width = form.integer("rotary_embedding_dim", 0) or 2 * half
    if flat:
        size = _head_size(form, data, 2 * half)
        value, sequence, heads_axis = form.op("Reshape", data, form.ints([0, 0, -1, size])), 1, 2
    else:
        value, sequence, heads_axis = data, 2, 1
    positions = _positions(form, form.size(value, sequence))
    cosine, sine = (
        form.op("Unsqueeze", form.op("Gather", form.needed(i), positions), form.ints([heads_axis]))
        for i in (2, 3)
    )
    turned, rest = _apart(form, value, width)
    result = _turned(form, turned, cosine, sine, width // 2)
    if rest is not None:
        result = form.op("Concat", result, rest, axis=-1)
    form.finish({0: form.op("Reshape", result, form.op("Shape", data)) if flat else result})


def _head_size(form: Spelling, data: ir.Value, rotary: int) -> int:
    """Of a flat input: the rotary width unless that is said by itself."""
    if not form.integer("rotary_embedding_dim", 0):
        return rotary
    heads = form.integer("num_heads", 0)
    if not heads:
        raise NotSpelt("the number of its heads is not known")
    return form.static(data, -1) // heads


def _positions(form: Spelling, length: ir.Value) -> ir.Value:
    """[B, S]; one number is where the first of them lies."""
    given = form.needed(1)
    if form.rank(given) == 2:
        return given
    return form.op("Unsqueeze", form.op("Add", form.counted(length), given), form.ints([0]))


def _apart(form: Spelling, value: ir.Value, width: int) -> tuple[ir.Value, ir.Value | None]:
    """The first `width` numbers of every head, and the others, which stay as they are."""
    if not form.integer("rotary_embedding_dim", 0):
        return value, None
    axis, start, middle, end = (form.ints([n]) for n in (-1, 0, width, 2**31))
    return form.op("Slice", value, start, middle, axis), form.op("Slice", value, middle, end, axis)


def _turned(
    form: Spelling, value: ir.Value, cosine: ir.Value, sine: ir.Value, half: int
) -> ir.Value:
    """(a·cos − b·sin, b·cos + a·sin); a and b are halves, or neighbours if interleaved."""
    pairs = bool(form.integer("interleaved", 0))
    if pairs:
        axis, every = form.ints([-1]), form.ints([2])
        a, b = (
            form.op("Slice", value, form.ints([start]), form.ints([2**31]), axis, every)
            for start in (0, 1)
        )
    else:
        a, b = form.ops("Split", [value, form.ints([half, half])], 2, axis=-1)
    first = form.op("Sub", form.op("Mul", a, cosine), form.op("Mul", b, sine))
    second = form.op("Add", form.op("Mul", b, cosine), form.op("Mul", a, sine))
    if not pairs:
        return form.op("Concat", first, second, axis=-1)
    columns = [form.op("Unsqueeze", each, form.ints([-1])) for each in (first, second)]
    return form.op("Reshape", form.op("Concat", *columns, axis=-1), form.op("Shape", value))


ROTARY: Mapping[str, Spell] = MappingProxyType({"RotaryEmbedding": _rotary})
