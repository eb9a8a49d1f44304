"""Activation functions of LSTM, GRU and RNN gates, by name, with alpha, beta and clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias, TypedDict

import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional

Activation: TypeAlias = Callable[..., Tensor]

_PLAIN: dict[str, Activation] = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Relu": torch.relu,
    "Softsign": functional.softsign,
    "Softplus": functional.softplus,
}

_ALPHA: dict[str, tuple[Activation, float]] = {
    "LeakyRelu": (lambda x, a: torch.where(x < 0, x * a, x), 0.01),
    "ThresholdedRelu": (lambda x, a: torch.where(x > a, x, 0.0), 1.0),
    "Elu": (lambda x, a: torch.where(x < 0, torch.expm1(x) * a, x), 1.0),
}
"""Activations that consume an element of `activation_alpha`, and its default."""

_ALPHA_BETA: dict[str, tuple[Activation, float, float]] = {
    "HardSigmoid": (lambda x, a, b: torch.clamp(x * a + b, 0.0, 1.0), 0.2, 0.5),
    "ScaledTanh": (lambda x, a, b: a * torch.tanh(b * x), 1.0, 1.0),
    "Affine": (lambda x, a, b: x * a + b, 1.0, 0.0),
}
"""Activations that consume an element of `activation_beta`, too."""

_NAMES = {name.lower(): name for name in (*_PLAIN, *_ALPHA, *_ALPHA_BETA)}
"""As the specification spells them; ONNX Runtime takes any case (deep_cpu_lstm.cc)."""

DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
"""Activations of one direction."""


class Options(TypedDict, total=False):
    """The attributes that all three have."""

    hidden_size: int
    direction: str
    activations: Sequence[str]
    activation_alpha: Sequence[float]
    activation_beta: Sequence[float]
    clip: float
    layout: int


def objection(node: ir.Node) -> str | None:
    """Why a recurrent node is not lowered, None if it is."""
    names = node.attributes.get_strings("activations", ())
    unknown = {name for name in names if name.lower() not in _NAMES}
    return f"the activations {', '.join(sorted(unknown))}" if unknown else None


def spelt(options: Options) -> tuple[str, ...]:
    """Names of the activations as the tables spell them."""
    return tuple(_NAMES[name.lower()] for name in options.get("activations") or ())


_OF_THE_CELL = 2
"""Position of LSTM's function of the cell state, which `clip` leaves alone: it bounds the sums of
the gates (ONNX Runtime, lstm_base.cc; OpenVINO does the same)."""


def activations(op: str, directions: int, options: Options) -> list[list[Activation]]:
    """Per direction; alpha and beta go to the functions that have them, in order (ONNX LSTM)."""
    defaults = DEFAULTS[op]
    names = spelt(options) or defaults * directions
    alphas = iter(options.get("activation_alpha") or ())
    betas = iter(options.get("activation_beta") or ())
    made = [_activation(name, alphas, betas) for name in names]
    limit, size = options.get("clip"), len(defaults)
    if limit is not None:
        made = [
            each if number % size == _OF_THE_CELL else partial(_clipped, each, limit)
            for number, each in enumerate(made)
        ]
    return [made[k * size : (k + 1) * size] for k in range(directions)]


def _activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    if name in _PLAIN:
        return _PLAIN[name]
    if name in _ALPHA:
        function, alpha = _ALPHA[name]
        return partial(_with, function, next(alphas, alpha))
    function, alpha, beta = _ALPHA_BETA[name]
    return partial(_with, function, next(alphas, alpha), next(betas, beta))


def _clipped(function: Activation, limit: float, x: Tensor) -> Tensor:
    return function(torch.clamp(x, -limit, limit))


def _with(function: Activation, *numbers_and_x: Tensor | float) -> Tensor:
    *numbers, x = numbers_and_x
    return function(x, *numbers)
