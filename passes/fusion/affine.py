"""The algebra of folding y = scale·x + shift, per channel, into the weights of linear operators.

All arithmetic is float64 and is rounded once, to the weight's type. Arrays that come in are never
written to: a weight that another node shares keeps its values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Affine:
    """y = scale·x + shift on one axis.

    Attributes:
        scale: float64, shape [channels] or [1].
        shift: float64, shape [channels] or [1].
    """

    scale: Array
    shift: Array

    def then(self, after: Affine) -> Affine:
        """This one first, `after` second."""
        return Affine(after.scale * self.scale, after.scale * self.shift + after.shift)

    @property
    def is_finite(self) -> bool:
        return bool(np.all(np.isfinite(self.scale)) and np.all(np.isfinite(self.shift)))

    @property
    def shifts(self) -> bool:
        """Whether any channel is shifted."""
        return bool(np.any(self.shift != 0))


def identity() -> Affine:
    """y = x."""
    return Affine(np.ones(1), np.zeros(1))


def of_batch_norm(scale: Array, bias: Array, mean: Array, variance: Array, eps: float) -> Affine:
    """Inference-mode BatchNormalization (ONNX operator): scale·(x - mean)/√(variance + eps) + bias.

    Args:
        scale: [channels]
        bias: [channels]
        mean: [channels]
        variance: [channels]
        eps: Added to the variance.
    """
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + eps)
    return Affine(factor, bias.astype(np.float64) - mean.astype(np.float64) * factor)


def scale_axis(weight: Array, scale: Array, axis: int, groups: int = 1) -> Array:
    """The weight times one factor per channel.

    Args:
        weight: Any floating type; not changed.
        scale: [channels] or [1].
        axis: Where the channels lie. With groups this axis holds channels/groups of them, and axis
            `1 - axis` is split into the groups (Conv input: axis 1; ConvTranspose output: axis 1).
        groups: Number of groups.

    Returns:
        float64, the weight's shape.
    """
    exact = weight.astype(np.float64)
    if scale.size == 1:
        return exact * scale.reshape(())
    if groups == 1:
        return exact * _along(scale, axis, exact.ndim)
    split = exact.reshape(groups, exact.shape[0] // groups, *exact.shape[1:])
    factors = scale.reshape(groups, 1, exact.shape[1], *([1] * (exact.ndim - 2)))
    return (split * factors).reshape(exact.shape)


def conv_of_constant(weight: Array, shift: Array, groups: int) -> Array:
    """What a convolution without padding gives for an input of one constant per channel.

    Args:
        weight: [out, in/groups, ...]
        shift: [in] or [1]
        groups: Number of groups.

    Returns:
        float64, [out].
    """
    per_channel = weight.astype(np.float64).reshape(weight.shape[0], weight.shape[1], -1).sum(-1)
    channels = np.broadcast_to(shift, (weight.shape[1] * groups,))
    split = per_channel.reshape(groups, -1, weight.shape[1])
    total: Array = np.einsum("goi,gi->go", split, channels.reshape(groups, -1))
    return total.reshape(-1)


def rounded(exact: Array, like: Array) -> Array | None:
    """The result in the type of `like`; None if a value does not fit (inf or NaN)."""
    with np.errstate(over="ignore"):
        result = exact.astype(like.dtype)
    return result if bool(np.all(np.isfinite(result.astype(np.float64)))) else None


def _along(vector: Array, axis: int, dims: int) -> Array:
    shape = [1] * dims
    shape[axis] = -1
    return vector.reshape(shape)
