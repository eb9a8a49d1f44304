"""Stored weights and the second moments of what they are multiplied with, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.calibration.instrument import float_model
from qcompiler.calibration.run import run_calibration
from qcompiler.calibration.sites import find_sites
from qcompiler.decisions.absorbed import SOURCE, TRAINED
from qcompiler.decisions.binding import Placed, bound_regions, decided
from qcompiler.decisions.placement import RegionPlacement
from qcompiler.decisions.rerounding import can_reround, with_rounding
from qcompiler.decisions.roundings import Rounding
from qcompiler.decisions.weight_matrix import WeightMatrix, moments_request, weight_matrix
from qcompiler.ir.program import Program
from qcompiler.ir.requests import Request
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import stored_array
from qcompiler.quantization.numerics import dequantize, expand
from qcompiler.quantization.output_error import Matrix, block_errors
from qcompiler.statistics.kinds import Gram
from qcompiler.statistics.patches import PatchGram
from qcompiler.statistics.statistic import Statistic
from qcompiler.target.capability import Kernel

Array = npt.NDArray[Any]
WIDEST = 4608
"""Most inputs of a weight: their moments take 8 bytes * inputs^2, a run rows * inputs^2."""
_BYTES = 256 << 20
"""Moments that are alive at once."""
_ROWS_PER_INPUT = 8
_LEAST_POSITIONS, _MOST_POSITIONS = 64, 1024


@dataclass(frozen=True, eq=False)
class Product:
    """A weight that is rounded one way, whoever reads it.

    Attributes:
        regions: What was decided about its readers.
        rounding: Its integers as they are.
        exact: The weight, float32.
        layout: How it is a matrix.
        moments: float64 [groups, K, K], second moments of its inputs over all readers.
        rows: Rows that they are of.
    """

    regions: tuple[RegionPlacement, ...]
    rounding: Rounding
    exact: Array
    layout: WeightMatrix
    moments: Matrix
    rows: int

    def owners(self) -> Array:
        """Index into the flat scales of every element, [groups, K, N]."""
        params, shape = self.rounding.params, self.exact.shape
        slots = np.arange(params.scale.size).reshape(params.scale.shape)
        return self.layout.matrix(np.broadcast_to(expand(slots, shape, params), shape))

    def errors(self, rounding: Rounding, size: int | None = None) -> Matrix:
        """float64 [groups, blocks, N]: output errors of a rounding by blocks of `size` inputs.

        Each block counts by itself; without a size, all inputs are one.
        """
        gap = dequantize(rounding.integers, rounding.params).astype(np.float64) - self.exact
        return block_errors(self.layout.matrix(gap), self.moments, size or self.layout.inputs)

    def rerounded(self, rounding: Rounding) -> dict[str, RegionPlacement]:
        """Its readers with other integers, by region key."""
        return {each.key: with_rounding(each, rounding) for each in self.regions}


@dataclass(frozen=True, eq=False)
class _Asked:
    """A weight before its inputs were observed."""

    placed: tuple[Placed, ...]
    rounding: Rounding
    exact: Array
    layout: WeightMatrix
    requests: tuple[Request, ...]

    @property
    def bytes(self) -> int:
        return 8 * self.layout.groups * self.layout.inputs**2 * len(set(self.requests))


def products(
    program: Program, samples: Sequence[Feed], bits: int = 16, inputs: int = WIDEST
) -> Iterator[Product]:
    """Weights that are stored as integers of at most `bits` bits, with moments of their inputs.

    The float program runs over the samples once per 256 MiB of moments. Left out are the integers
    that a quantized or trained source came with, weights that somebody reads as something else than
    a product (a table that is looked up), and those of more inputs than `inputs` or `WIDEST`.
    """
    if not samples:
        return
    most = min(inputs, WIDEST)
    asked = _asked(program, len(samples), bits)
    for chunk in _chunks([each for each in asked if each.layout.inputs <= most]):
        requests = {request: None for each in chunk for request in each.requests}
        seen = observed(program, list(requests), samples)
        for each in chunk:
            parts = [seen[request] for request in each.requests if request in seen]
            if parts:
                yield _product(each, parts)


def reround(
    program: Program,
    samples: Sequence[Feed],
    bits: int,
    choose: Callable[[Product], Rounding | None],
    inputs: int = WIDEST,
) -> int:
    """Puts the roundings that `choose` finds into the placement; how many weights it changed.

    Args:
        program: Resolved.
        samples: What inputs are observed on; without any, nothing is done.
        bits: Weights of more bits than these stay as they are.
        choose: The rounding of a weight; None leaves it.
        inputs: Weights of more inputs than these stay as they are.
    """
    changed: dict[str, RegionPlacement] = {}
    weights = 0
    for product in products(program, samples, bits, inputs):
        rounding = choose(product)
        if rounding is not None:
            changed |= product.rerounded(rounding)
            weights += 1
    program.placement = decided(program).with_regions(changed)
    return weights


def observed(
    program: Program, requests: Sequence[Request], samples: Sequence[Feed]
) -> dict[Request, Statistic]:
    """Statistics of values of the float program over samples; what was never computed is missing.

    Raises:
        CalibrationError: See `run_calibration`.
    """
    copy = program.clone()
    copy.requests = dict.fromkeys(requests)
    model = float_model(copy, find_sites(copy))
    return run_calibration(model, program.signature, samples).statistics


def _product(asked: _Asked, parts: Sequence[Statistic]) -> Product:
    total: Matrix = np.zeros((asked.layout.groups, asked.layout.inputs, asked.layout.inputs))
    rows = 0
    for each in parts:
        assert isinstance(each, Gram | PatchGram)
        assert each.moments is not None
        total += each.moments.reshape(total.shape)
        rows += each.rows
    regions = tuple(each.decided for each in asked.placed)
    return Product(regions, asked.rounding, asked.exact, asked.layout, total, rows)


def _asked(program: Program, samples: int, bits: int) -> list[_Asked]:
    readers: dict[tuple[object, ...], list[Placed]] = {}
    for kernel in Kernel:
        for each in bound_regions(program, kernel):
            rounding = each.decided.rounding
            if rounding is not None and each.region.weight is not None:
                key = (each.region.weight.value, *rounding.key)
                readers.setdefault(key, []).append(each)
    found = (_weight(placed, samples, bits) for placed in readers.values())
    return [each for each in found if each is not None]


def _weight(placed: Sequence[Placed], samples: int, bits: int) -> _Asked | None:
    rounding, weight = placed[0].decided.rounding, placed[0].region.weight
    assert rounding is not None
    assert weight is not None
    space = rounding.params.space
    array = stored_array(weight.value)
    if rounding.how in (SOURCE, TRAINED) or space.storage_bits > bits or array is None:
        return None
    if not all(can_reround(each.decided) for each in placed):
        return None
    layouts = {weight_matrix(each.region.anchor, array.shape) for each in placed}
    layout = next(iter(layouts))
    if len(layouts) != 1 or layout is None:
        return None
    rows = _ROWS_PER_INPUT * layout.inputs // samples
    positions = min(max(rows, _LEAST_POSITIONS), _MOST_POSITIONS)
    asked = [moments_request(each.region.anchor, array.shape, positions) for each in placed]
    requests = tuple(each for each in asked if each is not None)
    if len(requests) != len(placed):
        return None
    exact = np.asarray(array, np.float32)
    return _Asked(tuple(placed), rounding, exact, layout, requests)


def _chunks(asked: Sequence[_Asked]) -> Iterator[list[_Asked]]:
    chunk: list[_Asked] = []
    for each in asked:
        if chunk and sum(other.bytes for other in chunk) + each.bytes > _BYTES:
            yield chunk
            chunk = []
        chunk.append(each)
    if chunk:
        yield chunk
