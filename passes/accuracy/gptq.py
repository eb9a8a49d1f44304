"""`gptq`: integers of a weight that make up for each other's rounding errors.

Frantar et al. 2022, arXiv 2210.17323: inputs are rounded one after the other, and the error of each
is taken out by the weights not yet rounded, along the second moments of the inputs. A column whose
error is not lowered keeps its integers.

Scales are fitted to the integers afterwards, by least squares of the output: clipping and rounding
shrink what a layer gives, and in a deep network that adds up, which the error of one layer does not
show. `ratios` tries several clippings, each with its scales fitted; each output takes the best one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from qcompiler.decisions.rerounding import least_factor
from qcompiler.decisions.roundings import Rounding
from qcompiler.errors import ConfigurationError
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.passes.accuracy.products import WIDEST, Product, reround
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.quantization.gptq import damping_for, gptq
from qcompiler.quantization.numerics import dequantize, expand, quantize
from qcompiler.quantization.scale_fit import scale_factors

Array = npt.NDArray[Any]
_FARTHEST = 2.0
"""How far a scale may come by the fit."""


@dataclass(frozen=True)
class Gptq(Pass):
    """Weights of Conv, ConvTranspose, MatMul and Gemm rounded by GPTQ on `context.samples`.

    Attributes:
        damping: Added to the diagonal of the second moments, as a share of its mean; None goes by
            the number of rows (`damping_for`).
        act_order: Round inputs of large moments first.
        ratios: How many ratios of the scales are tried; 1 clips nothing.
        lowest: The smallest of them.
        bits: Weights of more bits than these stay as they are.
        fit: Fit the scales to the integers.
        inputs: Weights of more inputs than these stay as they are. Sums of few products, as of a
            depthwise convolution, average their rounding errors the least.

    Raises:
        ConfigurationError: An option out of range.
    """

    name: ClassVar[str] = "gptq"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})
    stage: ClassVar[Stage] = Stage.PLACED

    damping: float | None = None
    act_order: bool = True
    ratios: int = 1
    lowest: float = 0.8
    bits: int = 8
    fit: bool = True
    inputs: int = WIDEST

    def __post_init__(self) -> None:
        if self.damping is not None and not self.damping >= 0:
            raise ConfigurationError(
                f"damping is a share of at least 0, not {self.damping}",
                fix="give a share such as 0.01",
            )
        if self.ratios < 1 or not 0 < self.lowest <= 1:
            raise ConfigurationError(
                f"{self.ratios} ratios down to {self.lowest} are no grid",
                fix="give ratios >= 1 and 0 < lowest <= 1",
            )

    def price(self, samples: int) -> str:
        return f"one float run over {samples} samples, inputs^2 * outputs products per weight"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        weights = reround(program, context.samples, self.bits, self._rounded, self.inputs)
        return Outcome(details={"weights": weights})

    def _rounded(self, product: Product) -> Rounding | None:
        """Other integers, of the best ratio for each scale; None if they stay, or are none."""
        old = product.rounding
        if old.params.space.is_float or old.params.space.is_table:
            return None  # the next level is no step away
        owners = product.owners()[:, 0]
        least, best = _errors(product, old, owners), old
        floor = np.max([np.max(least_factor(each)) for each in product.regions])
        for ratio in np.linspace(1, self.lowest, self.ratios):
            if ratio < 1 and ratio < floor:
                break
            found = self._fitted(product, np.float32(ratio))
            trials = [found, *([self._with_scales(product, found)] if self.fit else [])]
            for trial in trials:
                errors = _errors(product, trial, owners)
                better = errors < least
                best = _merged(product, best, trial, better[owners])
                least = np.where(better, errors, least)
        return None if best is old else best

    def _fitted(self, product: Product, ratio: np.float32) -> Rounding:
        """GPTQ with all scales times a ratio."""
        params, layout, shape = product.rounding.params, product.layout, product.exact.shape
        params = replace(params, scale=np.asarray(params.scale * ratio, np.float32))
        start = product.rounding.integers if ratio == 1 else quantize(product.exact, params)
        scale, zero = (
            layout.matrix(np.broadcast_to(expand(part, shape, params), shape))
            for part in (params.scale, params.zero_point)
        )
        found = gptq(
            layout.matrix(product.exact),
            scale,
            zero,
            (params.space.qmin, params.space.qmax),
            product.moments,
            layout.matrix(start.astype(np.int64)),
            self._damping(product),
            self.act_order,
        )
        integers = layout.weight(found).astype(product.rounding.integers.dtype)
        return Rounding(params, integers, self.name)

    def _damping(self, product: Product) -> float:
        known = self.damping
        return damping_for(product.layout.inputs, product.rows) if known is None else known

    def _with_scales(self, product: Product, rounding: Rounding) -> Rounding:
        """The same integers with the scales that give the least output error."""
        params, layout = rounding.params, product.layout
        size = params.space.group_size or layout.inputs
        held = layout.matrix(dequantize(rounding.integers, params))
        factors = scale_factors(
            held,
            layout.matrix(product.exact),
            product.moments,
            size,
            product.owners()[:, ::size],
            self._damping(product),
        ).reshape(params.scale.shape)
        least = np.maximum(_least_factors(product, rounding), 1 / _FARTHEST)
        scale = params.scale * np.minimum(np.maximum(factors, least), _FARTHEST)
        return replace(rounding, params=replace(params, scale=np.asarray(scale, np.float32)))


def _least_factors(product: Product, rounding: Rounding) -> Array:
    """What a scale of this rounding may be multiplied by at least, so that every bias fits."""
    ratio = rounding.params.scale / product.rounding.params.scale
    least = [least_factor(each) for each in product.regions]
    return np.asarray(np.max(np.broadcast_arrays(*least, np.zeros(ratio.shape)), axis=0) / ratio)


def _errors(product: Product, rounding: Rounding, owners: Array) -> Array:
    """Output errors of the columns of each scale; of blocks, those of their columns together."""
    return np.bincount(owners.ravel(), product.errors(rounding).ravel(), rounding.params.scale.size)


def _merged(product: Product, kept: Rounding, other: Rounding, taken: Array) -> Rounding:
    """Columns [groups, N] that are taken from another rounding, with all their scales."""
    if not taken.any():
        return kept
    owners = product.owners()
    everywhere = np.broadcast_to(taken[:, None], owners.shape)
    scale = np.array(kept.params.scale)
    slots = np.unique(owners[everywhere])
    scale.reshape(-1)[slots] = other.params.scale.reshape(-1)[slots]
    integers = np.where(product.layout.weight(everywhere), other.integers, kept.integers)
    return Rounding(replace(kept.params, scale=scale), integers, Gptq.name)
