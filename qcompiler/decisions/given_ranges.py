"""Ranges that the user gives, by value: read, checked, and put in the place of what was seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

import onnx_ir as ir

from qcompiler.errors import ConfigurationError, did_you_mean
from qcompiler.ir.origin import module_path
from qcompiler.ir.patterns import name_fits
from qcompiler.ir.program import Program
from qcompiler.ir.walk import is_op, producer_of, sole_user, values_by_name
from qcompiler.quantization.chosen import given

Ranges = Mapping[str, tuple[float, float]]
"""By the name of a value, or a glob: lower and upper end."""


def checked_ranges(ranges: object) -> Ranges:
    """The ranges as they were given, each a pair of numbers in order.

    Raises:
        ConfigurationError: Something else.
    """
    if not isinstance(ranges, Mapping):
        raise ConfigurationError(
            f"ranges must map values to pairs of numbers, they are {ranges!r}",
            fix="pass a dict such as {'logits': (-8.0, 8.0)}",
        )
    return {_name(name): _pair(name, ends) for name, ends in ranges.items()}


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            f"a range is given by the name of a value, not by {name!r}",
            fix="pass a dict such as {'logits': (-8.0, 8.0)}",
        )
    return name


def _pair(name: object, ends: object) -> tuple[float, float]:
    where = f"the range of {name!r}"
    fix = "give the lower end and the upper one, such as (-1.0, 1.0)"
    if callable(getattr(ends, "tolist", None)):  # of numpy or torch
        ends = ends.tolist()  # type: ignore[attr-defined]
    if not isinstance(ends, tuple | list) or len(ends) != 2:
        raise ConfigurationError(f"{ends!r} is no pair of numbers", where=where, fix=fix)
    if any(isinstance(end, bool) or not isinstance(end, Real) for end in ends):
        raise ConfigurationError(f"{ends!r} is no pair of numbers", where=where, fix=fix)
    low, high = float(ends[0]), float(ends[1])
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigurationError(f"({low}, {high}) is not finite", where=where, fix=fix)
    if low >= high:
        why = f"the lower end {low:g} is not below the upper one {high:g}"
        raise ConfigurationError("the range is empty", where=where, why=why, fix=fix)
    return low, high


def give_ranges(program: Program, ranges: Ranges) -> None:
    """Puts the ranges in the place of what calibration saw; of several that match, the last counts.

    A name is that of a value, of the node that computes it or of its module, or `op:OpType`; each
    may be a glob.

    Args:
        program: Calibrated; its observations are changed.
        ranges: As `checked_ranges` gives them.

    Raises:
        ConfigurationError: A range that matches no value that is quantized anywhere.
    """
    for pattern, (low, high) in ranges.items():
        for name in matching_values(program, pattern):
            program.observations[name] = given(program.observations[name], low, high)


def matching_values(program: Program, pattern: str) -> list[str]:
    """Names of the calibrated values that a pattern means, see `give_ranges`.

    Raises:
        ConfigurationError: There are none.
    """
    if not program.observations:
        raise ConfigurationError(
            "ranges were given, and nothing of this compilation has calibrated ranges",
            fix="take a static scheme such as 'int8' or 'auto', and pass calibration feeds",
        )
    values = values_by_name(program.model)
    names = {name: _names(name, values.get(name)) for name in program.observations}
    matching = [name for name, known in names.items() if name_fits(pattern, known)]
    if not matching:
        raise _matches_nothing(pattern, program, names)
    return matching


def _names(name: str, value: ir.Value | None) -> tuple[str, ...]:
    """What a pattern may call a value; behind an activation, what computes its operand, too."""
    known: list[str | None] = [name]
    node = producer_of(value)
    while node is not None:
        known += [node.name, module_path(node), f"op:{node.op_type}"]
        first = node.inputs[0] if is_op(node, "Relu", "Clip") else None
        node = first.producer() if first is not None and sole_user(first) is node else None
    return tuple(each for each in known if each)


def _matches_nothing(
    pattern: str, program: Program, names: Mapping[str, tuple[str, ...]]
) -> ConfigurationError:
    inside = values_by_name(program.model).get(pattern)
    known = dict.fromkeys(each for some in names.values() for each in some)
    why = "it is compared with names of values, of nodes and modules, and op:OpType"
    if inside is not None:
        why = "the value is in the model, but inside a region, or no form reads it in integers"
    return ConfigurationError(
        f"the range of {pattern!r} matches no value that is quantized",
        why=why,
        fix=did_you_mean(pattern, known, "the report and `qcompiler debug` name the values"),
    )
