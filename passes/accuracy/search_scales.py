"""`search-weight-scales`: scales of weights by the error of what is computed with them.

The smallest scale that holds a weight's extremes is not the best one: clipping a few weights leaves
the others finer levels. Every scale (of a tensor, channel or block) is tried at a grid of ratios,
and what counts is the output error d^T G d, with d what the integers are off by and G the second
moments of the inputs (the criterion of AdaRound, arXiv 2004.10568, equation 20; clipping ratios by
grid search as in OMSE, arXiv 1902.06822). Blocks along the inputs count by themselves.
Codebooks have no scale to search: their centroids are tuned (`centroids`). Powers of two stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from qcompiler.decisions.rerounding import least_factor
from qcompiler.decisions.roundings import Rounding
from qcompiler.errors import ConfigurationError
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.passes.accuracy.centroids import with_tuned_centroids
from qcompiler.passes.accuracy.products import Product, reround
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.quantization.numerics import quantize
from qcompiler.quantization.output_error import Matrix, searched_factors

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SearchWeightScales(Pass):
    """Weight scales with the least output error on `context.samples`; without samples, none.

    Attributes:
        steps: Ratios that are tried.
        lowest: The smallest of them.
        bits: Weights of more bits than these stay as they are.

    Raises:
        ConfigurationError: An option out of range.
    """

    name: ClassVar[str] = "search-weight-scales"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})
    stage: ClassVar[Stage] = Stage.PLACED

    steps: int = 32
    lowest: float = 0.35
    bits: int = 8

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.lowest < 1:
            raise ConfigurationError(
                f"{self.steps} ratios from 1 to {self.lowest} are no grid",
                fix="give steps >= 1 and 0 < lowest < 1",
            )

    def price(self, samples: int) -> str:
        return f"one float run over {samples} samples, {self.steps} roundings of every weight"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        weights = reround(program, context.samples, self.bits, self._better)
        return Outcome(details={"weights": weights})

    def _better(self, product: Product) -> Rounding | None:
        """The rounding with the least error; None if that is the one there is."""
        if product.rounding.params.space.is_table:
            return with_tuned_centroids(product, self.name)
        rounding = product.rounding
        factors = np.linspace(1, self.lowest, self.steps + 1)[1:]
        least = np.zeros(rounding.params.scale.shape)
        for region in product.regions:
            least = np.maximum(least, least_factor(region))
        best = searched_factors(_errors(product), factors, least)
        if np.all(best == 1):
            return None
        return _scaled(product, best)


def _errors(product: Product) -> Callable[[float], Matrix]:
    """Output errors by scale, as a function of what all scales are multiplied by."""
    params = product.rounding.params
    size, shape = params.space.group_size, params.scale.shape
    owners = product.owners()[:, :: size or product.layout.inputs].ravel()

    def of(factor: float) -> Matrix:
        errors = product.errors(_scaled(product, np.full(shape, factor)), size)
        total = np.bincount(owners, errors.ravel(), params.scale.size)
        return np.asarray(total.reshape(shape), np.float64)

    return of


def _scaled(product: Product, factors: Array) -> Rounding:
    params = product.rounding.params
    changed = replace(params, scale=np.asarray(params.scale * factors, np.float32))
    return Rounding(changed, quantize(product.exact, changed), SearchWeightScales.name)
