"""LSTM, GRU and RNN, forward, reverse and bidirectional, with sequence lengths.

Shapes: x [time, batch, input] (layout 0), w [directions, gates*hidden, input],
r [directions, gates*hidden, hidden], b [directions, 2*gates*hidden],
states [directions, batch, hidden]; y [time, directions, batch, hidden].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor
from torch.nn import functional

from qcompiler.lowering.torch_fx.ops.gate_functions import DEFAULTS, Options, activations, spelt
from qcompiler.lowering.torch_fx.ops.layout import split

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], State]


def lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    peephole: Tensor | None = None,
    *,
    input_forget: int = 0,
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor, Tensor]:
    """LSTM: gates in order i, o, f, c."""
    direction = options.get("direction", "forward")
    x, (h0, c0) = _time_first(options, x, h0, c0)
    states = [_state(given, x, r) for given in (h0, c0)]
    usual = DEFAULTS["LSTM"] * w.shape[0]
    plain = (spelt(options) or usual) == usual and "clip" not in options
    if peephole is None and plain and lengths is None and not input_forget:
        return _batch_first(options, *_library_lstm(x, w, r, b, states, direction))  # type: ignore[return-value]
    functions = activations("LSTM", w.shape[0], options)

    def step(k: int) -> Step:
        f, g, h = functions[k]
        peep = peephole[k].chunk(3) if peephole is not None else [x.new_zeros(())] * 3

        def run(gates: Tensor, state: State) -> State:
            i, o, forget, c = split(
                gates + functional.linear(state[0], r[k]), axis=-1, num_outputs=4
            )
            i = f(i + peep[0] * state[1])
            forget = 1 - i if input_forget else f(forget + peep[2] * state[1])
            cell = forget * state[1] + i * g(c)
            return f(o + peep[1] * cell) * h(cell), cell

        return run

    y, last = _run(x, w, b, lengths, states, direction, step)
    return _batch_first(options, y, *last)  # type: ignore[return-value]


def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
    *,
    linear_before_reset: int = 0,
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor]:
    """GRU: gates in order z, r, h."""
    functions = activations("GRU", w.shape[0], options)
    x, (h0,) = _time_first(options, x, h0)

    def step(k: int) -> Step:
        f, g = functions[k]
        rz, rr, rh = r[k].chunk(3)
        bias = b[k].chunk(2)[1].chunk(3)[2] if b is not None else x.new_zeros(())

        def run(gates: Tensor, state: State) -> State:
            h = state[0]
            xz, xr, xh = split(gates, axis=-1, num_outputs=3)
            z = f(xz + functional.linear(h, rz))
            reset = f(xr + functional.linear(h, rr))
            if linear_before_reset:
                new = g(xh + reset * (functional.linear(h, rh) + bias))
            else:
                new = g(xh + functional.linear(reset * h, rh) + bias)
            return ((1 - z) * new + z * h,)

        return run

    direction = options.get("direction", "forward")
    y, last = _run(x, w, _without_hidden_bias(b), lengths, [_state(h0, x, r)], direction, step)
    return _batch_first(options, y, *last)  # type: ignore[return-value]


def rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor]:
    """RNN with one gate."""
    functions = activations("RNN", w.shape[0], options)
    x, (h0,) = _time_first(options, x, h0)

    def step(k: int) -> Step:
        (f,) = functions[k]
        return lambda gates, state: (f(gates + functional.linear(state[0], r[k])),)

    direction = options.get("direction", "forward")
    y, last = _run(x, w, b, lengths, [_state(h0, x, r)], direction, step)
    return _batch_first(options, y, *last)  # type: ignore[return-value]


def _time_first(
    options: Options, x: Tensor, *states: Tensor | None
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Operands of layout 1 (batch first) as those of layout 0."""
    if not options.get("layout"):
        return x, states
    turned = (each if each is None else each.transpose(0, 1) for each in states)
    return x.transpose(0, 1), tuple(turned)


def _batch_first(options: Options, y: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
    """Results as the layout asked for has them."""
    if not options.get("layout"):
        return y, *states
    return y.permute(2, 0, 1, 3), *(each.transpose(0, 1) for each in states)


def _state(given: Tensor | None, x: Tensor, r: Tensor) -> Tensor:
    return x.new_zeros(r.shape[0], x.shape[1], r.shape[2]) if given is None else given


def _without_hidden_bias(b: Tensor | None) -> Tensor | None:
    """GRU adds the recurrent bias of h inside the gate; here it is taken out of the sum."""
    if b is None:
        return None
    kept = b.clone()
    kept[:, -b.shape[1] // 6 :] = 0
    return kept


def _run(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    lengths: Tensor | None,
    states: list[Tensor],
    direction: str,
    step: Callable[[int], Step],
) -> tuple[Tensor, list[Tensor]]:
    """All directions; steps beyond a row's length leave its state and give zeros."""
    outputs, finals = [], []
    for k in range(w.shape[0]):
        bias = sum(b[k].chunk(2), x.new_zeros(())) if b is not None else None
        projected = functional.linear(x, w[k], bias)
        order = range(x.shape[0])
        backwards = direction == "reverse" or k == 1
        advance, state = step(k), tuple(each[k] for each in states)
        rows: list[Tensor] = [x.new_zeros(())] * x.shape[0]
        for t in reversed(order) if backwards else order:
            new = advance(projected[t], state)
            if lengths is not None:
                alive = (t < lengths).unsqueeze(-1)
                rows[t] = torch.where(alive, new[0], torch.zeros_like(new[0]))
                new = tuple(torch.where(alive, n, s) for n, s in zip(new, state, strict=True))
            else:
                rows[t] = new[0]
            state = new
        outputs.append(torch.stack(rows))
        finals.append(state)
    last = [torch.stack([state[i] for state in finals]) for i in range(len(states))]
    return torch.stack(outputs, dim=1), last


def _ifgo(packed: Tensor) -> Tensor:
    """ONNX gate order i, o, f, c as torch's i, f, c, o."""
    i, o, f, c = packed.chunk(4)
    return torch.cat([i, f, c, o])


def library_weights(w: Tensor, r: Tensor, b: Tensor | None) -> list[Tensor]:
    """torch's flat weight list of an LSTM layer, with biases when there are any."""
    flat = []
    for k in range(w.shape[0]):
        flat += [_ifgo(w[k]), _ifgo(r[k])]
        if b is not None:
            flat += [_ifgo(half) for half in b[k].chunk(2)]
    return flat


def _library_lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    states: list[Tensor],
    direction: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """torch's fused LSTM; reverse runs forward on the flipped sequence."""
    flipped = x.flip(0) if direction == "reverse" else x
    y, h, c = torch.lstm(
        flipped,
        states,
        library_weights(w, r, b),
        b is not None,
        1,
        0.0,
        False,
        w.shape[0] == 2,
        False,
    )
    y = y.flip(0) if direction == "reverse" else y
    return y.reshape(*x.shape[:2], w.shape[0], -1).transpose(1, 2), h, c
