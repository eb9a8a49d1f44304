"""Integer biases: int32 in steps of input scale * weight scale, and the guard that makes them fit.

Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", section 2.4.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qcompiler.errors import ConfigurationError
from qcompiler.quantization.numerics import Array
from qcompiler.quantization.qspace import FloatArray, Granularity, QParams

BIAS_LIMIT = 2**30
"""Largest int32 bias the guard leaves: half the accumulator stays free for the products."""


def bias_scale(input_scale: npt.ArrayLike, weight_scale: npt.ArrayLike) -> FloatArray:
    """float32 input scale * weight scale: the step of the accumulator and of an int32 bias."""
    return np.asarray(
        np.asarray(input_scale, np.float32) * np.asarray(weight_scale, np.float32), np.float32
    )


def quantize_bias(
    bias: Array, input_scale: npt.ArrayLike, weight_scale: npt.ArrayLike
) -> npt.NDArray[np.int32]:
    """Returns round(bias / (input scale * weight scale)) as int32, saturated.

    Args:
        bias: float32 [C].
        input_scale: Scalar.
        weight_scale: Scalar or [C].
    """
    steps = bias_steps(bias, input_scale, weight_scale)
    return np.clip(steps, -(2**31), 2**31 - 1).astype(np.int32)


def bias_steps(
    bias: Array, input_scale: npt.ArrayLike, weight_scale: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Returns round(bias / (input scale * weight scale)), whatever its size."""
    # float64: a float32 quotient has 24 bits only, an int32 bias has 31.
    step = bias_scale(input_scale, weight_scale).astype(np.float64)
    return np.asarray(np.rint(np.asarray(bias, np.float64) / step))


def bias_range_guard(
    bias: Array, input_scale: npt.ArrayLike, weight: QParams, limit: int = BIAS_LIMIT
) -> QParams:
    """Weight parameters under which every int32 bias is at most `limit`.

    A near-dead channel (T6; ORT issue 11415) has a tiny weight scale, and its bias does not fit.
    The scale of such a channel is raised just enough; its weights lose resolution that could not
    be seen in the sum beside the bias. Returns `weight` itself when every bias fits.

    Args:
        bias: float32 [C].
        input_scale: Scalar, positive.
        weight: Per tensor (then the largest bias counts) or per channel [C].
        limit: Largest |bias| in accumulator steps.

    Raises:
        ConfigurationError: Group-wise weights, which have no int32 accumulator of one scale.
    """
    if weight.space.granularity is Granularity.GROUP:
        raise ConfigurationError("a group-wise weight has no int32 bias", fix="keep it float")
    magnitude = np.abs(np.asarray(bias, np.float64))
    if weight.scale.ndim == 0:
        magnitude = np.max(magnitude, initial=0.0)
    needed = np.asarray(magnitude / (limit * np.asarray(input_scale, np.float64)))
    if np.all(weight.scale.astype(np.float64) >= needed):
        return weight
    # One ulp up, because the float32 rounding of the scale may go down.
    raised = np.nextafter(needed.astype(np.float32), np.float32(np.inf), dtype=np.float32)
    scale = np.where(weight.scale.astype(np.float64) >= needed, weight.scale, raised)
    return replace(weight, scale=np.asarray(scale, np.float32))
