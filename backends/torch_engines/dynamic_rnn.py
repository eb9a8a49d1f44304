"""Dynamic LSTM and GRU: int8 weights, activations quantized per step by the kernel.

The placed form is an LSTM or GRU whose W and R are int8 behind DequantizeLinear.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, fx

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.kernels.island import Writer
from qcompiler.lowering.torch_fx.constants import Array, IntegerWeight, array_of, weight_of

_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
"""torch's gate order in ONNX's: LSTM i, o, f, c → i, f, c, o; GRU z, r, h → r, z, h."""


def integer_weights(node: ir.Node) -> tuple[IntegerWeight, IntegerWeight] | None:
    """W and R as int8, None when they are not stored so."""
    w, r = (weight_of(node.inputs[i]) for i in (1, 2))
    if w is None or r is None or any(each.scale.ndim and each.axis != 1 for each in (w, r)):
        return None
    return w, r


def emit(node: ir.Node, writer: Writer) -> fx.Node:
    """One call of the kernel for all directions."""
    weights = integer_weights(node)
    assert weights is not None
    directions = weights[0].values.shape[0]
    hidden = weights[1].values.shape[2]
    bias = array_of(node.inputs[3]) if len(node.inputs) > 3 else None
    gates = len(_GATES[node.op_type]) * hidden
    bias = np.zeros((directions, 2 * gates), np.float32) if bias is None else bias
    cells = [
        writer.attribute("cell", _cell(node.op_type, weights, bias[k], k))
        for k in range(directions)
    ]
    x = node.inputs[0]
    assert x is not None
    states = [
        writer.real(v) if v is not None else None
        for v in (list(node.inputs) + [None] * 8)[5 : 7 if node.op_type == "LSTM" else 6]
    ]
    function = dynamic_lstm if node.op_type == "LSTM" else dynamic_gru
    reverse = node.attributes.get_string("direction", "forward") == "reverse"
    return writer.call(function, writer.real(x), cells, *states, hidden=hidden, reverse=reverse)


def _cell(kind: str, weights: tuple[IntegerWeight, IntegerWeight], bias: Array, k: int) -> Any:
    order = _GATES[kind]
    packs, halves = [], []
    for weight, half in zip(weights, np.split(bias, 2), strict=True):
        values = _gates(weight.values[k], order)
        scale, zero = weight.scale, weight.zero_point
        if scale.ndim:
            scale, zero = _gates(scale, order), _gates(zero, order)
        reordered = _gates(half, order).astype(np.float32)
        packs.append(adapter.pack_linear(values, scale, zero, reordered))
        halves.append(torch.from_numpy(reordered))
    return adapter.op("make_quantized_cell_params_dynamic")(*packs, *halves, False)


def _gates(rows: Array, order: tuple[int, ...]) -> Array:
    parts = np.split(rows, len(order))
    return np.concatenate([parts[place] for place in order])


def _start(x: Tensor, given: Tensor | None, directions: int, hidden: int) -> Tensor:
    return x.new_zeros(directions, x.shape[1], hidden) if given is None else given


def dynamic_lstm(
    x: Tensor,
    cells: list[Any],
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    *,
    hidden: int,
    reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """x [time, batch, input] -> y [time, directions, batch, hidden], final h and c."""
    count = len(cells)
    states = [_start(x, given, count, hidden) for given in (h0, c0)]
    flipped = x.flip(0) if reverse else x
    y, h, c = torch.ops.aten.quantized_lstm.input(
        flipped, states, cells, True, 1, 0.0, False, count == 2, False,
        dtype=torch.qint8, use_dynamic=True,
    )  # fmt: skip
    return _by_direction(y, reverse, count, hidden), h, c


def dynamic_gru(
    x: Tensor,
    cells: list[Any],
    h0: Tensor | None = None,
    *,
    hidden: int,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """x [time, batch, input] -> y [time, directions, batch, hidden] and final h."""
    count = len(cells)
    flipped = x.flip(0) if reverse else x
    y, h = torch.ops.aten.quantized_gru.input(
        flipped, _start(x, h0, count, hidden), cells, True, 1, 0.0, False, count == 2, False
    )
    return _by_direction(y, reverse, count, hidden), h


def _by_direction(y: Tensor, reverse: bool, count: int, hidden: int) -> Tensor:
    y = y.flip(0) if reverse else y
    return y.reshape(y.shape[0], y.shape[1], count, hidden).transpose(1, 2)
