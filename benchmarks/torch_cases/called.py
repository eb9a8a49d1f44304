"""Modules that are called in a way of their own."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.torch_cases.case import Case

W = 6


@dataclass
class Batch:
    """A registered dataclass."""

    x: Tensor
    scale: Tensor
    extra: Tensor | None = None


torch.export.register_dataclass(Batch)


@dataclass
class Plain:
    """A dataclass that nobody registered."""

    x: Tensor
    scale: Tensor


class Pair(NamedTuple):
    """A typed tuple."""

    x: Tensor
    y: Tensor


Untyped = namedtuple("Untyped", "x y")


class Own(nn.Module):
    """A layer and a function of it and the arguments."""

    def __init__(self, run: Any, width: int = W) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.run = run


def x(n: int = 4) -> Tensor:
    return torch.randn(n, W)


def written(source: str, **extra: Any) -> nn.Module:
    """A module with this `forward`."""
    space: dict[str, Any] = {**globals(), **extra}
    exec(source, space)
    made = type("Written", (Own,), {"forward": space["forward"]})
    module: nn.Module = made(None)
    return module.eval()


def called(name: str, module: nn.Module, feed: Any, *calls: Any, **options: Any) -> Case:
    return Case(name, module, feed, options, tuple(calls))


def arguments(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call."""
    return args, kwargs
