"""Another rounding of a weight in the place of the one there is, its bias brought along."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.decisions.placement import BiasRounding, RegionPlacement
from qcompiler.decisions.roundings import Rounding
from qcompiler.errors import LegalityError
from qcompiler.quantization.biases import BIAS_LIMIT, bias_scale

Array = npt.NDArray[Any]


def with_rounding(region: RegionPlacement, rounding: Rounding) -> RegionPlacement:
    """The region with this rounding; an int32 bias stands for what it stood for before.

    A bias that an accuracy pass has moved stays moved, up to half a step of the new scale.

    Raises:
        LegalityError: The bias is in steps of an input whose scale the placement does not hold.
    """
    bias, old = region.bias_rounding, region.rounding
    if bias is None or old is None or np.array_equal(old.params.scale, rounding.params.scale):
        return replace(region, rounding=rounding)
    read = region.activations[0].params if region.activations else None
    if read is None:
        raise LegalityError(
            f"the weight of '{region.key}' cannot take another scale",
            why="its bias is in steps of an input that the source quantizes itself",
        )
    # The engine multiplies the same two numbers, so the product has to be the same float.
    product = bias_scale(read.scale, rounding.params.scale)
    scale = np.array(product if product.size > 1 else product.reshape(()), np.float32)
    scale = np.array(np.broadcast_to(scale, bias.scale.shape))
    steps = bias.integers.astype(np.float64) * (bias.scale.astype(np.float64) / scale)
    limits = np.iinfo(np.int32)
    integers = np.clip(np.rint(steps), limits.min, limits.max).astype(np.int32)
    return replace(
        region, rounding=rounding, bias_rounding=BiasRounding(scale, integers, bias.axis)
    )


def can_reround(region: RegionPlacement) -> bool:
    """Whether `with_rounding` can give this region's weight another scale."""
    read = region.activations[0].params if region.activations else None
    return region.rounding is not None and (region.bias_rounding is None or read is not None)


def least_factor(region: RegionPlacement) -> Array:
    """By how much the weight's scale may be multiplied at least, so that its bias fits int32.

    Returns:
        float64, of the shape of the scale where that is per channel, else ().
    """
    bias, rounding = region.bias_rounding, region.rounding
    if bias is None or rounding is None:
        return np.zeros(())
    used = np.abs(bias.integers.astype(np.float64)) / BIAS_LIMIT
    if rounding.params.scale.shape == used.reshape(-1).shape:
        return used.reshape(-1)
    return np.asarray(used.max(initial=0.0))
