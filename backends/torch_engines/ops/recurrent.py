"""LSTM, GRU and RNN, forward, reverse and bidirectional, with sequence lengths.

Shapes: x [time, batch, input] (layout 0), w [directions, gates*hidden, input],
r [directions, gates*hidden, hidden], b [directions, 2*gates*hidden],
states [directions, batch, hidden]; y [time, directions, batch, hidden].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], State]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Relu": torch.relu,
    "Softsign": functional.softsign,
    "Softplus": functional.softplus,
    "HardSigmoid": lambda x: torch.clamp(x * 0.2 + 0.5, 0.0, 1.0),
}


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
    hidden_size: int,
    direction: str = "forward",
    activations: Sequence[str] | None = None,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    clip: float | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """LSTM: gates in order i, o, f, c."""
    del activation_alpha, activation_beta
    _refuse(clip is not None or input_forget or layout, "LSTM", "clip, input_forget or layout=1")
    states = [_state(h0, x, w, hidden_size), _state(c0, x, w, hidden_size)]
    if peephole is None and activations is None and lengths is None:
        return _library_lstm(x, w, r, b, states, direction)
    names = list(activations or ["Sigmoid", "Tanh", "Tanh"] * w.shape[0])

    def step(k: int) -> Step:
        f, g, h = (_ACTIVATIONS[name] for name in names[3 * k : 3 * k + 3])
        peep = peephole[k].chunk(3) if peephole is not None else [x.new_zeros(())] * 3

        def run(gates: Tensor, state: State) -> State:
            i, o, forget, c = (gates + functional.linear(state[0], r[k])).chunk(4, dim=-1)
            i, forget = f(i + peep[0] * state[1]), f(forget + peep[2] * state[1])
            cell = forget * state[1] + i * g(c)
            return f(o + peep[1] * cell) * h(cell), cell

        return run

    y, last = _run(x, w, b, lengths, states, direction, 4, step)
    return y, last[0], last[1]


def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
    *,
    hidden_size: int,
    direction: str = "forward",
    activations: Sequence[str] | None = None,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    clip: float | None = None,
    linear_before_reset: int = 0,
    layout: int = 0,
) -> tuple[Tensor, Tensor]:
    """GRU: gates in order z, r, h."""
    del activation_alpha, activation_beta
    _refuse(clip is not None or layout, "GRU", "clip or layout=1")
    names = list(activations or ["Sigmoid", "Tanh"] * w.shape[0])
    states = [_state(h0, x, w, hidden_size)]

    def step(k: int) -> Step:
        f, g = (_ACTIVATIONS[name] for name in names[2 * k : 2 * k + 2])
        rz, rr, rh = r[k].chunk(3)
        bias = b[k].chunk(2)[1].chunk(3)[2] if b is not None else x.new_zeros(())

        def run(gates: Tensor, state: State) -> State:
            h = state[0]
            xz, xr, xh = gates.chunk(3, dim=-1)
            z = f(xz + functional.linear(h, rz))
            reset = f(xr + functional.linear(h, rr))
            if linear_before_reset:
                new = g(xh + reset * (functional.linear(h, rh) + bias))
            else:
                new = g(xh + functional.linear(reset * h, rh) + bias)
            return ((1 - z) * new + z * h,)

        return run

    y, last = _run(x, w, _without_hidden_bias(b), lengths, states, direction, 3, step)
    return y, last[0]


def rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
    *,
    hidden_size: int,
    direction: str = "forward",
    activations: Sequence[str] | None = None,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    clip: float | None = None,
    layout: int = 0,
) -> tuple[Tensor, Tensor]:
    """RNN with one gate."""
    del activation_alpha, activation_beta
    _refuse(clip is not None or layout, "RNN", "clip or layout=1")
    names = list(activations or ["Tanh"] * w.shape[0])
    states = [_state(h0, x, w, hidden_size)]

    def step(k: int) -> Step:
        f = _ACTIVATIONS[names[k]]
        return lambda gates, state: (f(gates + functional.linear(state[0], r[k])),)

    y, last = _run(x, w, b, lengths, states, direction, 1, step)
    return y, last[0]


def _refuse(asked: object, op: str, what: str) -> None:
    if asked:
        raise ValueError(f"{op} with {what} is not lowered")


def _state(given: Tensor | None, x: Tensor, w: Tensor, hidden: int) -> Tensor:
    return x.new_zeros(w.shape[0], x.shape[1], hidden) if given is None else given


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
    gates: int,
    step: Callable[[int], Step],
) -> tuple[Tensor, list[Tensor]]:
    """All directions; steps beyond a row's length leave its state and give zeros."""
    outputs, finals = [], []
    for k in range(w.shape[0]):
        bias = sum(b[k].chunk(2), x.new_zeros(())) if b is not None else None
        projected = functional.linear(x, w[k], bias)
        order = range(x.shape[0])
        backwards = direction == "reverse" or k == 1
        state: State = tuple(each[k] for each in states)
        rows: list[Tensor] = [x.new_zeros(())] * x.shape[0]
        for t in reversed(order) if backwards else order:
            new = step(k)(projected[t], state)
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
