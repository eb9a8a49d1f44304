"""Points by hand: where integers begin and end in a torch module, and what stays float.

Imported only when it is asked for: it needs torch.
"""

from __future__ import annotations

from typing import Any, TypeVar

from torch import Tensor, nn

from qcompiler.frontends.torch_points import KEPT_FLOAT

Module = TypeVar("Module", bound=nn.Module)


class QuantStub(nn.Module):
    """Integers begin here. A module with a `QuantStub` or `DeQuantStub` is float outside them."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class DeQuantStub(nn.Module):
    """Integers end here."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class FloatModule(nn.Module):
    """A module that stays float, in the place of itself.

    Args:
        module: Called as it is; its parameters are found under `module.`.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        keep_float(self)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)


def keep_float(module: Module) -> Module:
    """Has everything inside this module stay float; returns it, under the names it had."""
    setattr(module, KEPT_FLOAT, True)
    return module
