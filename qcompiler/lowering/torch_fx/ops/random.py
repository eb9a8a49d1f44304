"""Random numbers. A seed gives the same numbers at every call of one torch, not ONNX Runtime's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qcompiler.lowering.torch_fx.element_types import torch_dtype
from qcompiler.lowering.torch_fx.ops.operands import Numbers, number

_FLOAT, _INT32 = 1, 6


def _generator(seed: float | None) -> torch.Generator | None:
    return None if seed is None else torch.Generator().manual_seed(int(seed))


def normal(
    *,
    shape: Sequence[int],
    dtype: int = _FLOAT,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> Tensor:
    """RandomNormal."""
    drawn = torch.randn(list(shape), generator=_generator(seed)) * scale + mean
    return drawn.to(torch_dtype(dtype))


def uniform(
    *,
    shape: Sequence[int],
    dtype: int = _FLOAT,
    low: float = 0.0,
    high: float = 1.0,
    seed: float | None = None,
) -> Tensor:
    """RandomUniform."""
    drawn = torch.rand(list(shape), generator=_generator(seed)) * (high - low) + low
    return drawn.to(torch_dtype(dtype))


def normal_like(
    x: Tensor,
    *,
    dtype: int | None = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> Tensor:
    """RandomNormalLike."""
    made = normal(shape=x.shape, mean=mean, scale=scale, seed=seed)
    return made.to(x.dtype if dtype is None else torch_dtype(dtype))


def uniform_like(
    x: Tensor,
    *,
    dtype: int | None = None,
    low: float = 0.0,
    high: float = 1.0,
    seed: float | None = None,
) -> Tensor:
    """RandomUniformLike."""
    made = uniform(shape=x.shape, low=low, high=high, seed=seed)
    return made.to(x.dtype if dtype is None else torch_dtype(dtype))


def bernoulli(x: Tensor, *, dtype: int | None = None, seed: float | None = None) -> Tensor:
    """Bernoulli: 1 with the probability of each element."""
    drawn = torch.rand(x.shape, generator=_generator(seed)) < x
    return drawn.to(x.dtype if dtype is None else torch_dtype(dtype))


def multinomial(
    x: Tensor, *, dtype: int = _INT32, sample_size: int = 1, seed: float | None = None
) -> Tensor:
    """Multinomial of unnormalised logarithms [batch, classes], with replacement."""
    drawn = torch.multinomial(
        torch.softmax(x.to(torch.float32), 1), sample_size, True, generator=_generator(seed)
    )
    return drawn.to(torch_dtype(dtype))


def dropout(
    x: Tensor,
    ratio: Numbers | None = None,
    training: Numbers | None = None,
    *,
    seed: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Dropout: the operand and an all-true mask, unless `training` is true."""
    share = 0.5 if ratio is None else float(number(ratio))
    if training is None or not number(training) or share == 0.0:
        return x, torch.ones_like(x, dtype=torch.bool)
    kept = torch.rand(x.shape, generator=_generator(seed)) >= share
    return torch.where(kept, x / (1 - share), torch.zeros_like(x)), kept
