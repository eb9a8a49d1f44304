"""What recurrent layers and attention have in common."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

D = 8


class Calls(nn.Module):
    """A module with fixed named arguments; its tensor results in a list."""

    def __init__(self, module: nn.Module, **fixed: Any) -> None:
        super().__init__()
        self.module, self.fixed = module, fixed

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs, **self.fixed)


def keys(*shape: int) -> Any:
    """A padding mask that hides no row as a whole."""

    def make() -> Tensor:
        mask = torch.rand(shape) > 0.6
        mask[..., 0] = False
        return mask

    return make
