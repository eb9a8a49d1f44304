"""nn.RNN as ONNX's RNN: PyTorch's translation has none and unrolls the steps of the example.

A layer takes (input, hx, params, has_biases, num_layers, dropout, train, bidirectional,
batch_first), as `aten::rnn_tanh.input` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset21

_FLOAT = int(ir.DataType.FLOAT)


def _translated(
    x: Any,
    hx: Any,
    params: Sequence[Any],
    sizes: tuple[int, int],
    batch_first: bool,
    activation: str,
) -> tuple[Any, Any]:
    """Rows and states of layers and directions, `sizes`."""
    op: Any = opset21  # numbers become constants
    own, hidden, (layers, directions) = x.dtype, int(params[1].shape[1]), sizes
    if own is not ir.DataType.FLOAT:  # the only type of ONNX Runtime's kernel
        x, hx, *params = (op.Cast(each, to=_FLOAT) for each in (x, hx, *params))
    rows = op.Transpose(x, perm=[1, 0, 2]) if batch_first else x
    options = {"hidden_size": hidden, "activations": [activation] * directions}
    states = []
    for layer, weights in enumerate(_layers(params, layers, directions)):
        start = op.Slice(hx, [layer * directions], [(layer + 1) * directions], [0])
        rows, last = _layer(op, rows, start, weights, options)
        states.append(last)
    rows = op.Transpose(rows, perm=[1, 0, 2]) if batch_first else rows
    last = op.Concat(*states, axis=0) if len(states) > 1 else states[0]
    if own is not ir.DataType.FLOAT:
        rows, last = (op.Cast(each, to=int(own)) for each in (rows, last))
    return rows, last


def _layers(params: Sequence[Any], layers: int, directions: int) -> Iterator[list[Sequence[Any]]]:
    """By layer, the weights of each direction."""
    each = len(params) // (layers * directions)
    parts = [params[start : start + each] for start in range(0, len(params), each)]
    for start in range(0, len(parts), directions):
        yield parts[start : start + directions]


def _layer(
    op: Any, rows: Any, start: Any, weights: list[Sequence[Any]], options: Mapping[str, Any]
) -> tuple[Any, Any]:
    """Rows [time, batch, directions * hidden] and the last state of one layer."""
    first, recurrent = (_stacked(op, [part[at] for part in weights]) for at in (0, 1))
    biases = [op.Concat(*part[2:4], axis=0) for part in weights if len(part) > 2]
    made, last = op.RNN(
        rows, first, recurrent, _stacked(op, biases) if biases else None, None, start,
        direction="bidirectional" if len(weights) > 1 else "forward", **options,
    )  # fmt: skip
    return op.Reshape(op.Transpose(made, perm=[0, 2, 1, 3]), [0, 0, -1]), last


def _stacked(op: Any, parts: Sequence[Any]) -> Any:
    raised = [op.Unsqueeze(part, [0]) for part in parts]
    return op.Concat(*raised, axis=0) if len(raised) > 1 else raised[0]


def _as_torch_calls(activation: str) -> Callable[..., Any]:
    def translated(
        x: Any,
        hx: Any,
        params: Sequence[Any],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Any, Any]:
        sizes = num_layers, 2 if bidirectional else 1
        return _translated(x, hx, params, sizes, batch_first, activation)

    return translated


TRANSLATIONS: Mapping[Any, Callable[..., Any]] = {
    torch.ops.aten.rnn_tanh.input: _as_torch_calls("Tanh"),
    torch.ops.aten.rnn_relu.input: _as_torch_calls("Relu"),
}
"""For `custom_translation_table` of torch.onnx.export."""
