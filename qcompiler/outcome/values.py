"""Rows of the values that a placed program holds in integers, and which region uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qcompiler.decisions.placement import Placement, RegionPlacement
from qcompiler.decisions.roundings import Rounding
from qcompiler.ir.regions import Operand, Region
from qcompiler.ir.walk import stored_array
from qcompiler.outcome.distributions import (
    Loss,
    loss_of_activation,
    noise_of_weight,
    of_activation,
    of_weight,
)
from qcompiler.quantization.observers import Observer
from qcompiler.quantization.qspace import QParams
from qcompiler.report.rows import RegionRow
from qcompiler.report.values import ValueRow

_MOST_DISTRIBUTIONS = 6000
"""Histograms in a report: those of a network with 3 000 quantized layers."""


@dataclass(eq=False)
class _Table:
    """Collects rows; equal parameters of one value are one row."""

    observations: Mapping[str, Observer]

    def __post_init__(self) -> None:
        self.rows: dict[str, ValueRow] = {}
        self._known: dict[tuple[object, ...], str] = {}

    def activation(self, name: str, params: QParams, reader: str) -> str:
        """The key of a value under these parameters."""
        known = ("a", name, params.space, params.scale.tobytes(), params.zero_point.tobytes())
        if known not in self._known:
            key = self._free(name, reader)
            self._known[known] = key
            seen = self.observations.get(name)
            loss = Loss() if seen is None else loss_of_activation(seen, params)
            row = _row(key, "activation", params)
            self.rows[key] = replace(
                row,
                seen=None if seen is None or seen.count == 0 else (seen.low, seen.high),
                clipped=loss.clipped,
                noise=loss.noise,
                distribution=None if seen is None or self._full else of_activation(seen),
            )
        return self._known[known]

    def weight(self, operand: Operand, rounding: Rounding, reader: str) -> str:
        """The key of a stored operand in these integers."""
        name = operand.value.name or reader
        known = ("w", name, *rounding.key)
        if known not in self._known:
            key = self._free(name, reader)
            self._known[known] = key
            row = replace(_row(key, "weight", rounding.params), rounding=rounding.how)
            array = stored_array(operand.value)
            if array is not None and array.size:
                exact = np.asarray(array, np.float32)
                row = replace(
                    row,
                    shape="×".join(map(str, array.shape)),
                    seen=(float(exact.min()), float(exact.max())),
                    noise=noise_of_weight(exact, rounding),
                    distribution=None if self._full else of_weight(exact),
                )
            self.rows[key] = row
        return self._known[known]

    @property
    def _full(self) -> bool:
        return len(self.rows) >= _MOST_DISTRIBUTIONS

    def _free(self, name: str, reader: str) -> str:
        """The value's name, or with its reader where the name is taken."""
        key, number = name, 1
        while key in self.rows:
            key = f"{name} as {reader} reads it" + ("" if number == 1 else f" ({number})")
            number += 1
        return key


def with_values(
    rows: Sequence[RegionRow],
    regions: Sequence[Region],
    placement: Placement | None,
    observations: Mapping[str, Observer],
) -> tuple[tuple[RegionRow, ...], tuple[ValueRow, ...]]:
    """The rows with what each region reads and writes in integers, and the rows of those values.

    Args:
        rows: Of the regions, in the same order.
        regions: Of the float program, whose weights are what was rounded.
        placement: Of the chosen plan; None for a program that was not placed.
        observations: What calibration saw, by value name.
    """
    table = _Table(observations)
    placed = {} if placement is None else placement.regions
    found = [
        _filled(row, region, placed.get(region.key), table)
        for row, region in zip(rows, regions, strict=True)
    ]
    return tuple(found), tuple(table.rows.values())


def _filled(
    row: RegionRow, region: Region, placed: RegionPlacement | None, table: _Table
) -> RegionRow:
    plain = _float_bytes(region)
    if placed is None:
        return replace(row, float_nbytes=plain, nbytes=plain if row.is_float else None)
    reads = [
        table.activation(each.value, each.params, placed.key)
        for each in placed.activations
        if each.params is not None
    ]
    weight, writes = None, None
    if placed.rounding is not None and region.weight is not None:
        weight = table.weight(region.weight, placed.rounding, placed.key)
    if placed.written is not None:
        writes = table.activation(placed.output, placed.written, placed.key)
    parts = [table.rows[key].noise for key in (weight, writes) if key is not None]
    known = [each for each in parts if each is not None]
    return replace(
        row,
        reads=tuple(reads),
        weight=weight,
        writes=writes,
        noise=sum(known) if known else None,
        float_nbytes=plain,
        nbytes=_placed_bytes(region, placed, plain),
    )


def _row(key: str, kind: str, params: QParams) -> ValueRow:
    space = params.space
    zero = params.zero_point.astype(np.float64)
    scale = params.scale.astype(np.float64)
    lows, highs = scale * (space.qmin - zero), scale * (space.qmax - zero)
    return ValueRow(
        key,
        kind,
        space.dtype.name,
        "",
        (float(scale.min()), float(scale.max())),
        int(scale.size),
        (int(params.zero_point.min()), int(params.zero_point.max())),
        float(lows.min()),
        float(highs.max()),
    )


def _float_bytes(region: Region) -> int:
    """Bytes of weight and bias as the source stores them."""
    values = {id(each.value): each.value for each in (region.weight, region.bias) if each}
    total = 0
    for value in values.values():
        tensor = value.const_value
        total += 0 if tensor is None else int(tensor.nbytes)
    return total


def _placed_bytes(region: Region, placed: RegionPlacement, plain: int) -> int | None:
    """Bytes of the integers with their scales; None where the form keeps its own storage."""
    if region.weight is None:
        return plain
    if placed.rounding is None:
        return plain if placed.form.weight is None else None
    params = placed.rounding.params
    total = -(-placed.rounding.integers.size * params.space.storage_bits // 8)
    total += int(params.scale.nbytes) + -(-params.scale.size * params.space.storage_bits // 8)
    if placed.bias_rounding is not None:
        return total + int(placed.bias_rounding.integers.nbytes)
    bias = region.bias.value.const_value if region.bias is not None else None
    return total + (0 if bias is None else int(bias.nbytes))
