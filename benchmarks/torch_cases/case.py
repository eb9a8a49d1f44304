"""One torch module with the calls that it is compiled and tried with; the tensors of the cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

B, S, V = (4, 5, 6), (4, 6), (4,)
IMG, SEQ, VOL = (2, 4, 8, 9), (2, 4, 10), (1, 2, 5, 6, 7)


@dataclass(frozen=True)
class Case:
    """A module, and how it is called.

    Attributes:
        name: Unique.
        module: In evaluation mode.
        feed: Makes the arguments of one call, drawn anew each time.
        options: Further arguments of `qcompiler.compile`.
        calls: Further calls (args, kwargs); each is to give what the module gives, or an error.
    """

    name: str
    module: nn.Module
    feed: Callable[[], Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    calls: tuple[Callable[[], tuple[tuple[Any, ...], dict[str, Any]]], ...] = ()


class Function(nn.Module):
    """A function of tensors, behind a product where the first one's last axis is long enough."""

    def __init__(self, function: Callable[..., Any], width: int) -> None:
        super().__init__()
        self.function = function
        self.layer = nn.Linear(width, width) if width > 1 else nn.Identity()

    def forward(self, x: Tensor, *rest: Tensor) -> Any:
        return self.function(self.layer(x), *rest)


def of_function(name: str, function: Callable[..., Any], *kinds: Any) -> Case:
    """A function of tensors of these shapes (float32) or of what these callables make."""

    def feed() -> tuple[Tensor, ...]:
        return tuple(kind() if callable(kind) else torch.randn(kind) for kind in kinds)

    first = feed()[0]
    wide = first.dtype is torch.float32 and first.ndim > 1
    return Case(name, Function(function, first.shape[-1] if wide else 1).eval(), feed)


def of_module(name: str, module: nn.Module, *kinds: Any, **options: Any) -> Case:
    """A module of tensors of these shapes (float32) or of what these callables make."""

    def feed() -> tuple[Any, ...]:
        return tuple(kind() if callable(kind) else torch.randn(kind) for kind in kinds)

    return Case(name, module.eval(), feed, options)


def ints(*shape: int, high: int = 5) -> Callable[[], Tensor]:
    return lambda: torch.randint(0, high, shape)


def bools(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.rand(shape) > 0.4


def positive(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.rand(shape) + 0.1


def typed(dtype: torch.dtype, *shape: int) -> Callable[[], Tensor]:
    return lambda: (torch.randn(shape) * 3).to(dtype)
