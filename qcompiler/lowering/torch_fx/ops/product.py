"""Matrix products and normalisation layers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from qcompiler.lowering.torch_fx.element_types import torch_dtype


def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - the ONNX attribute
    transB: int = 0,  # noqa: N803
) -> Tensor:
    """Gemm: alpha * op(a) @ op(b) + beta * c."""
    left = a.t() if transA else a
    if transB and alpha == 1.0 and beta == 1.0 and (c is None or c.dim() == 1):
        return functional.linear(left, b, c)
    product = torch.matmul(left, b.t() if transB else b)
    product = product if alpha == 1.0 else product * alpha
    return product if c is None else product + (c if beta == 1.0 else c * beta)


def einsum(*operands: Tensor, equation: str) -> Tensor:
    """Einsum."""
    return torch.einsum(equation.replace(" ", ""), *operands)


def rms_norm(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """RMSNormalization over the axes from `axis` on."""
    stash = x.to(torch_dtype(stash_type))
    axes = list(range(axis % x.dim(), x.dim()))
    root = torch.rsqrt((stash * stash).mean(axes, keepdim=True) + epsilon)
    return (stash * root).to(x.dtype) * scale


def matmul_integer(
    a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    """MatMulInteger: int32 product of 8-bit operands; `a_zero` per row, `b_zero` per column."""
    left, right = a.to(torch.int32), b.to(torch.int32)
    if a_zero is not None:
        left = left - (a_zero.unsqueeze(-1) if a_zero.dim() == 1 else a_zero).to(torch.int32)
    if b_zero is not None:
        right = right - b_zero.to(torch.int32)
    return torch.matmul(left, right)


def batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor:
    """BatchNormalization, channels on axis 1; `training_mode` takes the batch's own statistics."""
    if training_mode:
        return batch_norm_statistics(
            x, scale, bias, mean, variance, epsilon=epsilon, momentum=momentum
        )[0]
    scale, bias = scale.to(x.dtype), bias.to(x.dtype)
    mean, variance = mean.to(x.dtype), variance.to(x.dtype)
    return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)


def batch_norm_statistics(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """BatchNormalization in training: y, running mean and (population) variance."""
    if not training_mode:
        y = batch_norm(x, scale, bias, mean, variance, epsilon=epsilon)
        return y, mean, variance
    axes = [axis for axis in range(x.dim()) if axis != 1]
    own, spread = x.mean(axes), x.var(axes, correction=0)
    y = functional.batch_norm(
        x, own.to(x.dtype), spread.to(x.dtype), scale.to(x.dtype), bias.to(x.dtype), False, 0.0,
        epsilon,
    )  # fmt: skip
    kept = 1 - momentum
    running_mean = mean * momentum + own.to(mean.dtype) * kept
    running_variance = variance * momentum + spread.to(variance.dtype) * kept
    return y, running_mean, running_variance


def instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """InstanceNormalization, also of one element, which torch's `functional` refuses."""
    return torch.instance_norm(x, scale, bias, None, None, True, 0.0, epsilon, False)


def layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """LayerNormalization over the axes from `axis` on (first output only)."""
    del stash_type
    shape = list(x.shape[axis % x.dim() :])
    weight = scale.expand(shape)
    return functional.layer_norm(
        x, shape, weight, None if bias is None else bias.expand(shape), epsilon
    )


def layer_norm_statistics(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNormalization with the mean and the inverse deviation, in `stash_type`."""
    stash = x.to(torch_dtype(stash_type))
    axes = list(range(axis % x.dim(), x.dim()))
    mean = stash.mean(axes, keepdim=True)
    inverse = torch.rsqrt(((stash - mean) ** 2).mean(axes, keepdim=True) + epsilon)
    return layer_norm(x, scale, bias, axis=axis, epsilon=epsilon), mean, inverse


def group_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """GroupNormalization: scale and bias per channel (opset 21); also of groups of one element."""
    del stash_type
    return torch.group_norm(x, num_groups, scale, bias, epsilon)


def lrn(
    x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Tensor:
    """LRN across channels: window [c - (size-1)//2, c + size//2]."""
    before, after = (size - 1) // 2, size // 2
    squares = (x * x).flatten(2).unsqueeze(1)
    padded = functional.pad(squares, (0, 0, before, after))
    sums = functional.avg_pool2d(padded, (size, 1), stride=1) * size
    return x / (bias + alpha / size * sums.reshape(x.shape)) ** beta


def lp_norm(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """LpNormalization along one axis; a row of zeros stays."""
    length: Tensor = torch.linalg.vector_norm(x, ord=p, dim=axis, keepdim=True)
    return x / torch.where(length == 0, torch.ones_like(length), length)


def mean_variance_norm(x: Tensor, *, axes: tuple[int, ...] = (0, 2, 3)) -> Tensor:
    """MeanVarianceNormalization: (x - mean) / (deviation + 1e-9), as ONNX defines it."""
    mean = x.mean(dim=list(axes), keepdim=True)
    deviation = torch.sqrt((x * x).mean(dim=list(axes), keepdim=True) - mean * mean)
    return (x - mean) / (deviation + 1e-9)
