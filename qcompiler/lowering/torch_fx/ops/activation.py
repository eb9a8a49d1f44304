"""Activation functions and softmax."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """LeakyRelu."""
    return functional.leaky_relu(x, alpha)


def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Elu."""
    return functional.elu(x, alpha)


def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Celu."""
    return functional.celu(x, alpha)


def selu(
    x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875
) -> Tensor:
    """Selu: gamma * elu(x, alpha)."""
    return gamma * functional.elu(x, alpha)


def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """HardSigmoid: clamp(alpha * x + beta, 0, 1)."""
    return torch.clamp(x * alpha + beta, 0.0, 1.0)


def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """ThresholdedRelu: x where x > alpha, else 0."""
    return torch.where(x > alpha, x, torch.zeros_like(x))


def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """Shrink: x + bias below -lambd, x - bias above lambd, else 0."""
    inside = torch.zeros_like(x)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, inside))


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """Gelu, exact or by tanh."""
    return functional.gelu(x, approximate=approximate)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """PRelu; the slope broadcasts like any operand."""
    return torch.where(x < 0, x * slope, x)


def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Softmax over one axis."""
    return torch.softmax(x, dim=axis)


def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """LogSoftmax over one axis."""
    return torch.log_softmax(x, dim=axis)


def hardmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Hardmax: 1 at the first maximum along the axis, else 0."""
    best = torch.argmax(x, dim=axis, keepdim=True)
    return torch.zeros_like(x).scatter_(axis, best, 1)


def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Swish: x * sigmoid(alpha * x)."""
    return x * torch.sigmoid(x * alpha)
