"""Packed sequences in a capture: padded rows with their lengths, as ONNX's recurrent layers take.

torch.export cannot trace packing, whose sizes depend on data. While a module is captured, the
packed form stands for its padded rows and their lengths, and a recurrent layer that reads it
becomes an operator of ours for each layer and direction, translated to LSTM, GRU or RNN with
`sequence_lens`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from onnxscript import opset21
from torch import Tensor
from torch.nn.modules import rnn
from torch.overrides import TorchFunctionMode

from qcompiler.errors import ExportError

_LAYERS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "Tanh", "rnn_relu": "Relu"}
"""torch's names of recurrent layers; the last two are RNN with that activation."""
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""Gates in ONNX's order, by their place in torch's (i f g o; r z n)."""


@torch.library.custom_op("qcompiler::recurrent", mutates_args=())
def _recurrent(
    x: Tensor,
    lengths: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    kind: str,
    back: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    raise NotImplementedError  # only shapes are asked for in a capture


@_recurrent.register_fake
def _(
    x: Tensor,
    lengths: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    kind: str,
    back: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    rows = x.new_empty(x.shape[0], x.shape[1], h.shape[-1])
    return rows, torch.empty_like(h), torch.empty_like(c)


def _translated(
    x: Any, lengths: Any, h: Any, c: Any, weights: Sequence[Any], kind: str, back: bool
) -> tuple[Any, Any, Any]:
    op: Any = opset21  # numbers become constants
    first, recurrent, *biases = (_reordered(op, each, kind) for each in weights)
    joined = op.Unsqueeze(op.Concat(*biases, axis=0), [0]) if biases else None
    given = (
        x, op.Unsqueeze(first, [0]), op.Unsqueeze(recurrent, [0]), joined,
        op.Cast(lengths, to=6), h,
    )  # fmt: skip
    options: dict[str, Any] = {
        "hidden_size": int(weights[1].shape[1]),
        "direction": "reverse" if back else "forward",
    }
    if kind == "LSTM":
        rows, last, memory = op.LSTM(*given, c, **options)
    elif kind == "GRU":
        rows, last = op.GRU(*given, linear_before_reset=1, **options)
        memory = op.Identity(c)
    else:
        rows, last = op.RNN(*given, activations=[kind], **options)
        memory = op.Identity(c)
    return op.Squeeze(rows, [1]), last, memory


def _reordered(op: Any, weight: Any, kind: str) -> Any:
    order = _ORDER.get(kind)
    if order is None:
        return weight
    parts = op.Split(weight, axis=0, num_outputs=len(order))
    return op.Concat(*(parts[index] for index in order), axis=0)


TRANSLATIONS: Mapping[Any, Callable[..., Any]] = {
    torch.ops.qcompiler.recurrent.default: _translated
}
"""For `custom_translation_table` of torch.onnx.export."""


@dataclass(frozen=True)
class _Packed:
    """What a packed sequence stands for.

    Attributes:
        marker: The tensor in the place of `batch_sizes`; kept, since it is known by identity.
        lengths: int64[batch].
        time: Steps of the padded rows.
        batch: Rows of a step.
    """

    marker: Tensor
    lengths: Tensor
    time: Any
    batch: Any


@contextlib.contextmanager
def packing_padded() -> Iterator[None]:
    """Where packed sequences are padded ones."""
    mode = _Padded()
    own = {kind: kind.check_forward_args for kind in (rnn.RNNBase, rnn.LSTM)}
    for kind, check in own.items():
        kind.check_forward_args = mode.checked(check)  # type: ignore[method-assign]
    try:
        with mode:
            yield
    finally:
        for kind, check in own.items():
            kind.check_forward_args = check  # type: ignore[method-assign]


class _Padded(TorchFunctionMode):
    """Answers for packed sequences; everything else is left to torch."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, _Packed] = {}

    def checked(self, own: Callable[..., None]) -> Callable[..., None]:
        """torch's check of a layer's arguments, which reads the batch as a number."""

        def check(layer: Any, given: Tensor, hidden: Any, sizes: Tensor | None) -> None:
            if self._of(sizes) is None:
                own(layer, given, hidden, sizes)

        return check

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name == "_pack_padded_sequence":
            return self._packed(*args, **(kwargs or {}))
        found = next((seen for each in args[:2] if (seen := self._of(each)) is not None), None)
        if found is not None and name == "_pad_packed_sequence":
            return _padded(found, args[0], *args[2:])
        if found is not None and name == "__getitem__":
            return found.batch
        if found is not None and name in _LAYERS:
            return _run(_LAYERS[name], found, args[0], *args[2:])
        return func(*args, **(kwargs or {}))

    def _of(self, value: Any) -> _Packed | None:
        found = self._known.get(id(value))
        return found if found is not None and found.marker is value else None

    def _packed(self, rows: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
        rows = rows.transpose(0, 1) if batch_first else rows
        time, batch = rows.shape[:2]
        marker = torch.zeros(time, dtype=torch.int64)
        self._known[id(marker)] = _Packed(marker, lengths, time, batch)
        return rows.flatten(0, 1), marker


def _padded(
    packed: _Packed, data: Tensor, batch_first: bool, value: float, wanted: Any
) -> tuple[Tensor, Tensor]:
    """Rows as `pad_packed_sequence` gives them: as long as the longest sequence, or as asked."""
    rows = data.reshape(packed.time, packed.batch, -1)
    inside = torch.arange(packed.time)[:, None] < packed.lengths
    while inside.ndim < rows.ndim:
        inside = inside.unsqueeze(-1)
    rows = torch.where(inside, rows, torch.full_like(rows, value))
    if isinstance(wanted, int) and not isinstance(packed.time, int):
        raise ExportError(
            "total_length of an open number of steps",
            fix="capture with a fixed number of steps (dynamic=False), or leave it out",
        )
    if wanted is packed.time or wanted == packed.time:
        longest: Any = packed.lengths.max().item()
        check: Any = torch._check
        check(longest >= 0)
        check(longest <= packed.time)
        rows = rows.narrow(0, 0, longest)
    else:
        pads = [0, 0] * (rows.ndim - 1) + [0, wanted - packed.time]
        rows = torch.nn.functional.pad(rows, pads, value=value)
    return (rows.transpose(0, 1) if batch_first else rows), packed.lengths


def _run(
    kind: str,
    packed: _Packed,
    data: Tensor,
    hidden: Any,
    weights: Sequence[Tensor],
    biased: bool,
    layers: int,
    dropout: float,
    train: bool,
    both: bool,
) -> tuple[Tensor, ...]:
    """A whole recurrent layer as `_VF` has it, on padded rows."""
    each = 4 if biased else 2
    directions = 2 if both else 1
    if len(weights) != each * layers * directions:
        raise ExportError(
            "a packed sequence is read by an LSTM with proj_size",
            fix="use nn.LSTM without proj_size, or padded sequences",
        )
    states = hidden if kind == "LSTM" else (hidden, hidden)
    rows = data.reshape(packed.time, packed.batch, -1)
    last: list[Tensor] = []
    memory: list[Tensor] = []
    for layer in range(layers):
        parts = []
        for direction in range(directions):
            at = layer * directions + direction
            own = list(weights[each * at : each * at + each])
            begin = [state.narrow(0, at, 1) for state in states]
            found = torch.ops.qcompiler.recurrent(
                rows, packed.lengths, *begin, own, kind, direction == 1
            )
            parts.append(found[0])
            last.append(found[1])
            memory.append(found[2])
        rows = torch.cat(parts, -1) if both else parts[0]
    ends = [torch.cat(last), torch.cat(memory)] if kind == "LSTM" else [torch.cat(last)]
    return (rows.flatten(0, 1), *ends)
