"""`loss=`: what the user says that outputs are for, and how much each may lose.

| loss | what it is | unit of `max_loss`, default |
| --- | --- | --- |
| `sqnr` | noise-to-signal ratio | ratio, 0.0075 (21 dB) |
| `top1`, `top5`, ... | share of rows whose float winner is not among so many | share, 0.01 |
| `sigmoid` | share of scores that change sides of 0.3, 0.5 or 0.7, the worst | share, 0.01 |
| `cosine` | mean of 1 - cos over rows of the last axis | 1 - cos, 0.00375 |
| `agreement` | share of elements that differ | share, 0.0275 |
| a function | what it returns for (reference array, array), mean over samples | its own, none |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, SupportsFloat

import numpy.typing as npt

from qcompiler.errors import ConfigurationError, did_you_mean

Array = npt.NDArray[Any]
LossFunction = Callable[[Array, Array], SupportsFloat]
"""From what float gives and what the result gives for one sample to a loss, 0 for no loss."""
Loss = str | LossFunction
Asked = Loss | Mapping[str | int, Loss]
MaxLoss = float | Mapping[str | int, float]

DEFAULT_NSR = 0.0075
"""Noise-to-signal ratio of plain values that is allowed: 21 dB."""
SQNR, SIGMOID, COSINE, AGREEMENT, FUNCTION = "sqnr", "sigmoid", "cosine", "agreement", "function"
_TOP = re.compile(r"top([1-9]\d{0,3})")
_DEFAULTS = {
    SQNR: DEFAULT_NSR,
    SIGMOID: 0.01,
    COSINE: DEFAULT_NSR / 2,
    AGREEMENT: 0.0275,
}
_DEFAULT_SHARE = 0.01


@dataclass(frozen=True)
class OutputLoss:
    """What is asked of one output.

    Attributes:
        name: `sqnr`, `top1`, ... or `function`.
        allowed: The most of it.
        given: Whether the user gave that bound.
        function: For `function`.
    """

    name: str
    allowed: float
    given: bool = False
    function: LossFunction | None = None

    @property
    def rank(self) -> int | None:
        """k of `topk`; None for other losses."""
        found = _TOP.fullmatch(self.name)
        return int(found[1]) if found else None


def output_losses_of(
    loss: Asked | None, max_loss: MaxLoss | None, names: Sequence[str]
) -> list[OutputLoss | None]:
    """What is asked of every output; None where nothing is, and the analysis decides.

    A `max_loss` without `loss` is a noise-to-signal ratio for all outputs.

    Args:
        loss: One for all outputs, or by name or position.
        max_loss: The bound of all, each in the unit of its loss; or by name or position.
        names: Of the outputs, in order.

    Raises:
        ConfigurationError: An unknown loss or output, a bound that makes no sense, a function
            without a bound.
    """
    by_loss = _by_name(loss, names, "loss")
    bounds = _by_name(max_loss, names, "max_loss")
    if loss is None:
        by_loss = dict.fromkeys(bounds, SQNR)
    lost = sorted(set(bounds) - set(by_loss))
    if lost and isinstance(max_loss, Mapping):
        by_loss |= dict.fromkeys(lost, SQNR)
    return [_asked(name, by_loss.get(name), bounds.get(name)) for name in names]


def check_loss(loss: object, max_loss: object) -> None:
    """Refuses what cannot be a loss or its bound, before outputs are known.

    Raises:
        ConfigurationError: See `output_losses_of`.
    """
    for each in loss.values() if isinstance(loss, Mapping) else [loss]:
        if each is not None:
            _named(each)
    for each in max_loss.values() if isinstance(max_loss, Mapping) else [max_loss]:
        if each is not None:
            _require_bound(each)


def _by_name(given: Any, names: Sequence[str], what: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return dict.fromkeys(names, given)
    return {_output(key, names, what): each for key, each in given.items()}


def _output(key: object, names: Sequence[str], what: str) -> str:
    if isinstance(key, int) and not isinstance(key, bool) and -len(names) <= key < len(names):
        return names[key]
    if isinstance(key, str) and key in names:
        return key
    raise ConfigurationError(
        f"{what} names the output {key!r}, which the model does not have",
        fix=did_you_mean(str(key), names, f"its outputs are {', '.join(names)}"),
    )


def _asked(output: str, loss: Loss | None, bound: float | None) -> OutputLoss | None:
    if loss is None:
        return None
    name = _named(loss)
    if bound is not None:
        _require_bound(bound)
    function = None if isinstance(loss, str) else loss
    if function is not None and bound is None:
        raise ConfigurationError(
            f"the loss of '{output}' is a function and has no bound",
            why="what it returns has no unit that a default could be in",
            fix="give max_loss, the most that the function may return",
        )
    allowed = _DEFAULTS.get(name, _DEFAULT_SHARE) if bound is None else float(bound)
    return OutputLoss(name, allowed, bound is not None, function)


def _named(loss: object) -> str:
    if isinstance(loss, str):
        if loss in _DEFAULTS or _TOP.fullmatch(loss):
            return loss
        known = ["top1", "top5", *_DEFAULTS]
        raise ConfigurationError(
            f"there is no loss {loss!r}",
            fix=did_you_mean(loss, known, f"there are {', '.join(known)}, and functions"),
        )
    if callable(loss):
        return FUNCTION
    raise ConfigurationError(
        f"loss must be a name, a function or a dict of them, it is {loss!r}",
        fix="give 'top1', a function of (reference array, array), or {'output name': 'top1'}",
    )


def _require_bound(bound: object) -> None:
    if isinstance(bound, Real) and not isinstance(bound, bool) and float(bound) >= 0:
        return
    raise ConfigurationError(
        f"max_loss must be a number and not negative, it is {bound!r}",
        fix="give a number such as max_loss=0.5, or leave it out",
    )
