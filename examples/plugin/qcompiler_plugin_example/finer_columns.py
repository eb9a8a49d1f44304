"""The accuracy pass `finer-columns`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from qcompiler.decisions.binding import Placed, bound_regions, decided
from qcompiler.decisions.roundings import Rounding
from qcompiler.ir.program import Program, Property
from qcompiler.ir.requests import Request
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, is_op, stored_array
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.quantization.numerics import dequantize, quantize
from qcompiler.statistics.kinds import Gram
from qcompiler.target.contract import Target

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FinerColumns(Pass):
    """Finer weight scales for MatMul, where clipping a few weights lowers the output error.

    The error of an output column is d^T G d, with d the rounding errors of its weights and G the
    second moments of the inputs, which are asked for and taken while calibrating.

    Attributes:
        steps: Scales that are tried, from 1 down to 1/2 of the nearest one.
    """

    name: ClassVar[str] = "finer-columns"
    stage: ClassVar[Stage] = Stage.PLACED
    recipes: ClassVar[frozenset[str]] = frozenset({"best"})
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})

    steps: int = 32

    def requests(self, program: Program, target: Target | None) -> Sequence[Request]:
        products = [node for node in all_nodes(program.model) if is_op(node, "MatMul")]
        inputs = [node.inputs[0] for node in products]
        return [_moments(value.name) for value in inputs if value is not None and value.name]

    def price(self, samples: int) -> str:
        return f"{self.steps} roundings of every MatMul's weight, no run"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        changed = {}
        for placed, moments in _products(program):
            found = self._better(placed, moments)
            if found is not None:
                changed[placed.region.key] = replace(
                    placed.decided, rounding=found, bias_rounding=None
                )
        program.placement = decided(program).with_regions(changed)
        return Outcome(details={"weights": len(changed)})

    def _better(self, placed: Placed, moments: Array) -> Rounding | None:
        """The rounding with the least error in each column; None if that is the one there is."""
        weight, rounding = placed.region.weight, placed.decided.rounding
        assert weight is not None
        assert rounding is not None
        exact = np.asarray(stored_array(weight.value), np.float64)
        scale = rounding.params.scale
        best, least = np.array(scale), _errors(exact, rounding, moments)
        for factor in np.linspace(1, 0.5, self.steps)[1:]:
            trial = _scaled(exact, rounding, np.asarray(scale * factor, np.float32))
            errors = _errors(exact, trial, moments)
            best, least = (
                np.where(errors < least, trial.params.scale, best),
                np.minimum(errors, least),
            )
        if np.array_equal(best, scale):
            return None
        return _scaled(exact, rounding, best)


def _moments(value: str) -> Request:
    return Request.of(value, "gram", axis=-1)


def _products(program: Program) -> Iterator[tuple[Placed, Array]]:
    """MatMuls with an int8 weight [K, N], a scale per column, no integer bias, and moments."""
    for placed in bound_regions(program):
        rounding, operands = placed.decided.rounding, placed.decided.activations
        if placed.region.kind != "MatMul" or rounding is None or rounding.integers.ndim != 2:
            continue
        found = program.statistics.get(_moments(operands[0].value))
        plain = placed.decided.bias_rounding is None and rounding.params.axis == 1
        if plain and isinstance(found, Gram) and found.moments is not None:
            yield placed, found.moments


def _scaled(exact: Array, rounding: Rounding, scale: Array) -> Rounding:
    params = replace(rounding.params, scale=np.asarray(scale, np.float32))
    integers = quantize(np.asarray(exact, np.float32), params)
    return Rounding(params, integers, FinerColumns.name)


def _errors(exact: Array, rounding: Rounding, moments: Array) -> Array:
    """float64 [N]: d^T G d of every column."""
    gap = dequantize(rounding.integers, rounding.params).astype(np.float64) - exact
    return np.asarray(np.einsum("kn,kj,jn->n", gap, moments, gap))
