"""Histograms of the difference between an engine's integers and the reference's, in steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import onnx_ir as ir

from qcompiler.errors import ConfigurationError
from qcompiler.execution.integer.extraction import IntegerRegion
from qcompiler.execution.integer.histogram import FAR, by_steps
from qcompiler.execution.integer.operand import Array

_NO_TIME = "the time for verification was up"
_TIE = 2.0**-9
"""Steps beyond half a one within which a result counts as halfway: float32 sums of 255 steps,
sixteen times as large as those of the result, are off by 255 * 16 * 2**-23 = 5e-4."""
_HIDDEN = "the engine cannot show its integers without changing its kernels"
_ROW_OPS = frozenset(
    {
        "Conv", "ConvTranspose", "Gemm", "MatMul", "MaxPool", "AveragePool", "GlobalAveragePool",
        "Add", "Mul", "Sub", "Div", "Sigmoid", "Tanh", "LeakyRelu", "Relu", "HardSwish", "Gelu",
    }
)  # fmt: skip
"""Ops whose result in row i (axis 0) depends on row i of the operands alone."""


class Check(Protocol):
    """A region with its reference."""

    @property
    def ops(self) -> str:
        """What it runs, for messages."""

    @property
    def kind(self) -> str:
        """The op that tolerances are listed by."""

    @property
    def values(self) -> Sequence[ir.Value]:
        """Everything that the comparison reads from the engine's run."""

    def differences(self, arrays: Mapping[str, Array], rows: int | None) -> dict[int, int]:
        """Elements by how many steps they differ, any unequal or forbidden one counting.

        Raises:
            ConfigurationError: The reference cannot compute this.
        """

    def work(self, arrays: Mapping[str, Array]) -> float:
        """Multiplications, roughly."""


@dataclass(frozen=True, eq=False)
class StaticCheck:
    """A region between DequantizeLinear and QuantizeLinear.

    Attributes:
        each: The region.
        ties: Whether results halfway between two steps may be rounded either way.
    """

    each: IntegerRegion
    ties: bool = False

    @property
    def ops(self) -> str:
        return "+".join(node.op_type for node in self.each.region.nodes)

    @property
    def kind(self) -> str:
        return self.each.region.kind

    @property
    def values(self) -> tuple[ir.Value, ...]:
        return self.each.values

    def differences(self, arrays: Mapping[str, Array], rows: int | None) -> dict[int, int]:
        """Elements by steps; only the first rows, where rows are independent."""
        each = self.each
        inputs = [arrays[port.value.name or ""] for port in each.ports]
        result = arrays[each.result.name or ""]
        if rows is not None and _rows_are_independent(each, inputs, result):
            inputs, result = [a[:rows] for a in inputs], result[:rows]
        wanted = each.compute(inputs)
        if self.ties and each.output is not None and wanted.shape == result.shape:
            wanted = self._either_way(wanted, result, inputs)
        return _differences(each, wanted, result)

    def _either_way(self, wanted: Array, found: Array, inputs: Sequence[Array]) -> Array:
        """The engine's integers where they are the other neighbour of a tie."""
        assert self.each.output is not None
        if np.array_equal(wanted, found):
            return wanted
        params = self.each.output.params
        real = replace(self.each, output=None).compute(inputs).astype(np.float64)
        steps = real / float(params.scale) + float(params.zero_point)
        one, other = (np.abs(steps - integers) < 0.5 + _TIE for integers in (wanted, found))
        return np.where(one & other, found, wanted)

    def work(self, arrays: Mapping[str, Array]) -> float:
        """Output elements times weights per channel."""
        size = float(arrays[self.each.result.name or ""].size)
        weight = self.each.weight
        if weight is None:
            return size
        channels = weight.params.scale.size if weight.params.axis is not None else 1
        return size * weight.data.size / max(channels, 1)


class Comparison:
    """Compares regions on one sample after another.

    Args:
        regions: What to compare, by region key.
        rows: At most this many rows (axis 0) of a sample, where rows are independent; None: all.
        seconds: Time to spend; the regions with the least work come first if it is limited.

    Attributes:
        found: Elements by difference in steps, by region key.
        skipped: Regions that could not be compared, with the reason.
    """

    def __init__(self, regions: Mapping[str, Check], rows: int | None, seconds: float) -> None:
        self.found: dict[str, dict[int, int]] = {}
        self.skipped: dict[str, str] = {}
        self._regions = dict(regions)
        self._rows = rows
        self._left = seconds

    @property
    def taps(self) -> list[str]:
        """Names of the values that the comparison needs, model inputs left out."""
        values = {value: None for each in self._regions.values() for value in each.values}
        return [value.name or "" for value in values if not value.is_graph_input()]

    def take(self, arrays: Mapping[str, Array]) -> None:
        """Compares every region on one run's values."""
        deadline = time.monotonic() + self._left
        for key, each in self._in_order(arrays):
            if time.monotonic() > deadline or self._left <= 0:
                self.skipped.update({} if key in self.found else {key: _NO_TIME})
                continue
            try:
                self._compare(key, each, arrays)
            except ConfigurationError as error:
                self.skipped[key] = str(error.what)
        self.skipped = {key: why for key, why in self.skipped.items() if key not in self.found}
        self._left = deadline - time.monotonic()

    def _in_order(self, arrays: Mapping[str, Array]) -> Iterator[tuple[str, Check]]:
        ready = {}
        for key, each in self._regions.items():
            if all(value.name in arrays for value in each.values):
                ready[key] = each
            else:
                self.skipped[key] = _HIDDEN
        if math.isinf(self._left):
            return iter(ready.items())
        return iter(sorted(ready.items(), key=lambda item: item[1].work(arrays)))

    def _compare(self, key: str, each: Check, arrays: Mapping[str, Array]) -> None:
        differences = each.differences(arrays, self._rows)
        histogram = self.found.setdefault(key, {})
        for steps, count in differences.items():
            histogram[steps] = histogram.get(steps, 0) + count


def _differences(each: IntegerRegion, wanted: Array, found: Array) -> dict[int, int]:
    """How many elements differ by how many steps; any unequal pair counts as one at least.

    A result of another shape is another one in all its elements.
    """
    if wanted.shape != found.shape:
        return {FAR: max(found.size, 1)}
    apart = np.abs(wanted.astype(np.float64) - found.astype(np.float64))
    return by_steps(apart, 1.0 if each.output is not None else each.float_step())


def _rows_are_independent(each: IntegerRegion, inputs: list[Array], result: Array) -> bool:
    anchor = each.region.anchor
    if anchor.op_type not in _ROW_OPS or anchor.attributes.get_int("transA", 0) != 0:
        return False
    if any(a.ndim != result.ndim or a.shape[:1] != result.shape[:1] for a in inputs):
        return False
    if result.ndim < (2 if anchor.op_type == "MatMul" else 1):
        return False  # a scalar has no rows, and the only axis of a vector is summed over
    return anchor.op_type != "MatMul" or each.weight is not None or result.ndim > 2
