"""Operators that keep channels last, as standard ones between two Transposes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import onnx_ir as ir

from qcompiler.frontends.contrib.spelling import NotSpelt, Spell, Spelling

_POOL = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
_INTEGERS = ("QLinearConv", "QLinearAveragePool", "QLinearGlobalAveragePool")
_DOMAIN = "com.microsoft"


def _first(form: Spelling, value: ir.Value) -> tuple[ir.Value, list[int]]:
    """Channels moved to axis 1, and the order that moves them back."""
    dims = form.rank(value)
    there = [0, dims - 1, *range(1, dims - 1)]
    return form.op("Transpose", value, perm=there), [0, *range(2, dims), 1]


def _max_pool(form: Spelling) -> None:
    data, back = _first(form, form.needed(0))
    pooled = form.op("MaxPool", data, **form.attributes(*_POOL))
    form.finish({0: form.op("Transpose", pooled, perm=back)})


def _channels_last(form: Spelling) -> None:
    """An operator on integers with `channels_last`: its data turned, the rest as it is."""
    if not form.integer("channels_last", 0):
        raise NotSpelt("its channels are on axis 1")
    data, back = _first(form, form.needed(0))
    data.type = form.needed(0).type
    kept = {n: a.value for n, a in form.node.attributes.items() if n != "channels_last"}
    operands: Sequence[ir.Value | None] = [data, *form.node.inputs[1:]]
    standard = form.node.op_type == "QLinearConv"
    made = form.rewriter.insert(
        form.node.op_type, operands, before=form.node, attributes=kept,
        domain="" if standard else _DOMAIN, dtype=data.dtype,
    )  # fmt: skip
    form.made.append(made)
    form.finish({0: form.op("Transpose", made.outputs[0], perm=back)})


LAYOUTS: Mapping[str, Spell] = MappingProxyType(
    {"NhwcMaxPool": _max_pool, **dict.fromkeys(_INTEGERS, _channels_last)}
)
"""The weight of QLinearConv is [M, C, k...] in either layout."""
