"""`Override`: what a user fixes by hand about some regions and values, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any

import numpy as np

from qcompiler.decisions.absorbed import GIVEN, NOTHING, Absorbed
from qcompiler.decisions.given_ranges import Ranges, checked_ranges, give_ranges, matching_values
from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.ir.program import Program
from qcompiler.quantization.chosen import USER, Chosen, statistics_of
from qcompiler.quantization.observers import make_observer, reinterpreted
from qcompiler.quantization.qspace import S8_AFFINE, U8_AFFINE, QParams

_TYPES = {"uint8": U8_AFFINE, "int8": S8_AFFINE}
_BITS = (2, 3, 4, 8, 16)


@dataclass(frozen=True)
class Override:
    """What is fixed where a pattern matches; what is left out stays the compiler's choice.

    Precision and bits are those of regions; observer, scale and range those of the values that the
    matching nodes compute, or of values by name.

    Attributes:
        precision: Name of a form or of a scheme: `int8`, `float32`, `int4-weights`.
        bits: Of the weight, or of the values where there is none; instead of a precision.
        observer: Calibration method: `minmax`, `percentile`, `entropy` or `mse`.
        scale: Real size of a step of the values; per tensor.
        zero_point: Integer that stands for 0, in `dtype`; goes with `scale`.
        dtype: `uint8` or `int8`; by default the one that the zero point's sign means.
        range: Lowest and highest number of the values, instead of a scale.

    Raises:
        ConfigurationError: Nothing is given, or things that contradict each other.
    """

    precision: str | None = None
    bits: int | None = None
    observer: str | None = None
    scale: float | None = None
    zero_point: int | None = None
    dtype: str | None = None
    range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if all(getattr(self, each.name) is None for each in fields(self)):
            raise ConfigurationError("an override fixes nothing", fix="give it a precision")
        if self.precision is not None and not isinstance(self.precision, str):
            raise ConfigurationError(f"precision is {self.precision!r}", fix="name one")
        counted = self.bits is None or (isinstance(self.bits, int) and self.bits in _BITS)
        if not counted or None not in (self.bits, self.precision):
            raise ConfigurationError(
                f"bits are {self.bits!r}", fix=f"give one of {_BITS}, and no precision"
            )
        if self.observer is not None:
            make_observer(self.observer)
        if self.range is not None:
            checked_ranges({"the override": self.range})
        self._check_scale()

    def _check_scale(self) -> None:
        others = (self.zero_point, self.dtype)
        if self.scale is None:
            if any(each is not None for each in others):
                raise ConfigurationError("a zero point or type without a scale", fix="give scale=")
            return
        if self.range is not None or self.observer is not None:
            raise ConfigurationError(
                "a scale leaves no choice of range or observer", fix="give one of the three"
            )
        number = isinstance(self.scale, Real) and not isinstance(self.scale, bool)
        if not number or not (math.isfinite(self.scale) and self.scale > 0):
            raise ConfigurationError(
                f"the scale {self.scale!r} is no positive number", fix="give one such as 0.02"
            )
        if self.dtype is not None and self.dtype not in tuple(_TYPES):
            raise ConfigurationError(f"dtype is {self.dtype!r}", fix="give 'uint8' or 'int8'")
        space = _TYPES[self._type]
        point = self.zero_point or 0
        if not isinstance(point, int) or not space.qmin <= point <= space.qmax:
            raise ConfigurationError(
                f"the zero point {self.zero_point!r} is no {self._type}",
                fix=f"give an integer from {space.qmin} to {space.qmax}",
            )

    @property
    def _type(self) -> str:
        return self.dtype or ("int8" if (self.zero_point or 0) < 0 else "uint8")

    @property
    def wanted(self) -> str | None:
        """The precision as a rule of regions takes it."""
        return self.precision if self.bits is None else f"{self.bits}-bit"

    @property
    def params(self) -> QParams | None:
        """The fixed scale and zero point."""
        if self.scale is None:
            return None
        point = np.asarray(self.zero_point or 0, np.int64)
        return QParams(np.asarray(self.scale, np.float32), point, _TYPES[self._type])


Overrides = Mapping[str, str | Override]
"""By glob over module paths, node names, `op:OpType`, and for values their names."""


@dataclass(frozen=True)
class ByHand:
    """Overrides taken apart by what they are about.

    Attributes:
        precisions: Of regions, by pattern.
        ranges: Of values, by pattern.
        observers: Calibration methods of values, by pattern.
        params: Scales and zero points of values, by pattern.
    """

    precisions: Mapping[str, str] = field(default_factory=dict)
    ranges: Ranges = field(default_factory=dict)
    observers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, QParams] = field(default_factory=dict)

    @property
    def fixes_values(self) -> bool:
        """Whether calibrated values are concerned."""
        return bool(self.ranges or self.observers or self.params)

    def apply(self, program: Program) -> None:
        """Puts observers, scales and ranges in the place of what calibration decided, in place.

        Raises:
            ConfigurationError: A pattern matches no value that is quantized anywhere, or a method
                cannot read what was kept of one.
        """
        for pattern, method in self.observers.items():
            for name in matching_values(program, pattern):
                origin = statistics_of(program.observations[name])
                read = reinterpreted(origin, method)
                program.observations[name] = Chosen.of(origin, read, USER)
        found = {
            name: params
            for pattern, params in self.params.items()
            for name in matching_values(program, pattern)
        }
        if found:
            own = program.absorbed or NOTHING
            how = GIVEN if program.absorbed is None else own.how
            program.absorbed = Absorbed({**own.values, **found}, own.grids, how)
        give_ranges(program, self.ranges)


def by_hand(overrides: object, ranges: object = None) -> ByHand:
    """The overrides by what they are about; `ranges=` is the same as overrides with a range.

    Raises:
        ConfigurationError: Neither names of precisions nor `Override`s, or a wrong range.
    """
    given = {} if overrides is None else overrides
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for each in given):
        raise ConfigurationError(
            f"overrides must map globs to precisions, they are {overrides!r}",
            fix="pass a dict such as {'op:Gemm': 'float32'}",
        )
    rules = {pattern: _override(pattern, each) for pattern, each in given.items()}
    own = {name: each.range for name, each in rules.items() if each.range is not None}
    return ByHand(
        {name: each.wanted for name, each in rules.items() if each.wanted is not None},
        {**own, **checked_ranges({} if ranges is None else ranges)},
        {name: each.observer for name, each in rules.items() if each.observer is not None},
        {name: each.params for name, each in rules.items() if each.params is not None},
    )


def _override(pattern: str, given: object) -> Override:
    if isinstance(given, Override):
        return given
    if isinstance(given, str):
        return Override(given)
    raise ConfigurationError(
        f"overrides must map globs to precisions, {pattern!r} is given {given!r}",
        fix="pass a precision such as 'float32', or qc.Override(...)",
    )


def override_of(table: Mapping[str, Any], where: str) -> Override:
    """An override from a table of a file.

    Raises:
        ConfigurationError: An unknown key, or a value that makes no sense; names the place.
    """
    known = [each.name for each in fields(Override)]
    for key in _unknown(table, known):
        raise ConfigurationError(
            f"{where} has the unknown key '{key}'", fix=did_you_mean(key, known, ", ".join(known))
        )
    values = dict(table)
    if isinstance(values.get("range"), list):
        values["range"] = tuple(values["range"])
    try:
        return Override(**values)
    except ConfigurationError as error:
        error.where = error.where or where
        raise


def _unknown(table: Mapping[str, Any], known: Sequence[str]) -> Iterator[str]:
    return (key for key in table if key not in known)
