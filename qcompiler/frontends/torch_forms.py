"""Own decompositions of functions: statistics of a batch, losses, tails of the normal distribution.

Also operators on tensors without axes, which ONNX reduces over no axis at all, and other names of
operators, whose operands PyTorch's translation does not bring to one type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_ATEN = torch.ops.aten


def batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """With the statistics of the batch itself: result, mean, 1 / deviation, new running ones."""
    if not training:
        return NotImplemented
    axes = [axis for axis in range(x.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
    mean = x.mean(axes)
    centred = x - mean.reshape(shape)
    variance = (centred * centred).mean(axes)
    inverse = torch.rsqrt(variance + eps)
    result = centred * inverse.reshape(shape)
    if weight is not None:
        result = result * weight.reshape(shape)
    if bias is not None:
        result = result + bias.reshape(shape)
    count = x.numel() // x.shape[1]
    unbiased = variance * count / (count - 1)
    new_mean = running_mean * (1 - momentum) + mean * momentum
    new_variance = running_var * (1 - momentum) + unbiased * momentum
    return result, mean, inverse, new_mean, new_variance


def is_training(given: Mapping[str, Any]) -> bool:
    """A call with the statistics of its batch."""
    return bool(given["training"])


def cross_entropy(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: int = 1,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Any:
    """Against probabilities (torch, aten/src/ATen/native/LossNLL.cpp)."""
    if not target.dtype.is_floating_point:
        return NotImplemented
    axis = 1 if x.ndim > 1 else 0
    classes = x.shape[axis]
    if label_smoothing > 0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    terms = torch.log_softmax(x, axis) * target
    if weight is not None:
        shape = [-1 if each == axis else 1 for each in range(x.ndim)]
        terms = terms * weight.reshape(shape)
    losses = -terms.sum(axis)
    if reduction == 0:
        return losses
    return losses.sum() if reduction == 2 else losses.mean()


def of_probabilities(given: Mapping[str, Any]) -> bool:
    """Whether the target of a loss holds probabilities."""
    return bool(given["target"].meta["val"].dtype.is_floating_point)


_TAIL = (
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398,
    1.48851587, -0.82215223, 0.17087277,
)  # fmt: skip
"""erfc(z) = t exp(-z^2 + P(t)), t = 2 / (2 + z), to 1.2e-7 of itself for z >= 0 (Numerical Recipes
in C, second edition, section 6.2)."""


def _log_scaled(z: Tensor) -> Tensor:
    """log(erfc(z) exp(z^2)) for z >= 0."""
    t = 2 / (2 + z)
    power = torch.full_like(t, _TAIL[-1])
    for coefficient in reversed(_TAIL[:-1]):
        power = power * t + coefficient
    return torch.log(t) + power


def log_ndtr(x: Tensor) -> Tensor:
    """log of the normal distribution's integral; below 0 by its tail, which is not rounded to 0."""
    x = x if x.is_floating_point() else x.float()
    z = x.abs() / math.sqrt(2)
    tail = _log_scaled(z) - z * z - math.log(2)
    return torch.where(x < 0, tail, torch.log1p(-torch.exp(tail)))


def erfcx(x: Tensor) -> Tensor:
    """erfc(x) exp(x^2), whose factors leave float32 long before it does."""
    x = x if x.is_floating_point() else x.float()
    scaled = torch.exp(_log_scaled(x.abs()))
    return torch.where(x < 0, 2 * torch.exp(x * x) - scaled, scaled)


def linspace(start: Any, end: Any, steps: int, **options: Any) -> Any:
    """One step from a tensor is that tensor, with one axis."""
    if steps != 1 or not isinstance(start, Tensor):
        return NotImplemented
    return start.reshape(1).to(options.get("dtype") or torch.get_default_dtype())


def is_one_step(given: Mapping[str, Any]) -> bool:
    """Whether only the start comes out."""
    return bool(given["steps"] == 1)


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    output_padding: Sequence[int] = (0,),
    groups: int = 1,
    dilation: Sequence[int] = (1,),
) -> Any:
    """The whole result, cropped: ONNX takes no output padding as large as the stride."""
    if not _reaches(stride, output_padding):
        return NotImplemented
    rank = len(weight.shape) - 2
    pads, extra = spread(padding, rank), spread(output_padding, rank)
    amounts: list[int] = []
    for pad, more in zip(pads, extra, strict=True):
        amounts = [-pad, more - pad, *amounts]
    op = {1: _ATEN.conv_transpose1d.default, 2: _ATEN.conv_transpose2d.input}.get(
        rank, _ATEN.conv_transpose3d.input
    )
    whole = op(x, weight, None, stride, [0] * rank, [0] * rank, groups, dilation)
    result = functional.pad(whole, amounts)
    return result if bias is None else result + bias.reshape([-1] + [1] * rank)


def is_padded_beyond(given: Mapping[str, Any]) -> bool:
    """Whether some output padding reaches the stride."""
    return _reaches(given["stride"], given["output_padding"])


def _reaches(stride: Sequence[int], extra: Sequence[int]) -> bool:
    rank = max(len(stride), len(extra))
    pairs = zip(spread(stride, rank), spread(extra, rank), strict=True)
    return any(more >= each for each, more in pairs)


def spread(given: Sequence[int], rank: int) -> list[int]:
    """One number for every axis."""
    return [*given] * rank if len(given) == 1 else [*given]


def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Replication and reflection with amounts below zero: every element by its index."""
    if mode not in ("replicate", "reflect") or min(pad) >= 0:
        return NotImplemented
    for number in range(len(pad) // 2):
        axis, size = x.ndim - 1 - number, x.shape[x.ndim - 1 - number]
        at = torch.arange(-pad[2 * number], size + pad[2 * number + 1])
        if mode == "reflect":
            at = (size - 1) - ((size - 1) - at.abs()).abs()
        x = x.index_select(axis, at.clamp(0, size - 1))
    return x


def is_cropped(given: Mapping[str, Any]) -> bool:
    """Whether a padding takes elements away."""
    known = all(isinstance(each, int) for each in given["pad"])
    return known and given["mode"] in ("replicate", "reflect") and min(given["pad"]) < 0


def without_axes(op: Callable[..., Any]) -> Callable[..., Any]:
    """The operator on tensors that have no axis: with one of one element, which goes again."""

    def form(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if x.ndim:
            return NotImplemented
        rest = [each.reshape(1) if isinstance(each, Tensor) else each for each in args]
        named = {k: v.reshape(1) if isinstance(v, Tensor) else v for k, v in kwargs.items()}
        found = op(x.reshape(1), *rest, **named)
        if isinstance(found, Tensor):
            return found.reshape(())
        return tuple(each.reshape(()) for each in found)

    return form


def has_no_axes(given: Mapping[str, Any]) -> bool:
    """Whether the operand is a tensor without axes."""
    return isinstance(given["self"], torch.fx.Node) and given["self"].meta["val"].ndim == 0


SCALARS = (
    _ATEN.amax.default, _ATEN.amin.default, _ATEN.any.dim, _ATEN.all.dim, _ATEN.prod.dim_int,
    _ATEN.linalg_vector_norm.default, _ATEN.norm.ScalarOpt_dim, _ATEN.topk.default,
    _ATEN.scatter.src, _ATEN.scatter.value, _ATEN.scatter_add.default,
)  # fmt: skip
"""Operators that torch takes over axis 0 of a number."""
OTHER_NAMES: Mapping[Any, Callable[..., Any]] = {
    _ATEN.divide.Tensor: torch.div,
    _ATEN.divide.Tensor_mode: torch.div,
    _ATEN.multiply.Tensor: torch.mul,
    _ATEN.subtract.Tensor: torch.sub,
    _ATEN.greater.Tensor: torch.gt,
    _ATEN.greater_equal.Tensor: torch.ge,
    _ATEN.less.Tensor: torch.lt,
    _ATEN.less_equal.Tensor: torch.le,
    _ATEN.not_equal.Tensor: torch.ne,
    _ATEN.arctan2.default: torch.atan2,
}
"""Second names of operators, and the ones that the translation knows the types of."""
