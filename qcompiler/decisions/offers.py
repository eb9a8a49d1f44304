"""Forms that a target offers alike to many regions, and what they want of calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import onnx_ir as ir

from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.target.capability import Implementation, Kernel


class Need(NamedTuple):
    """What a form wants of calibration."""

    kernel: Kernel
    reads: bool
    writes: bool


def need_of(form: Implementation) -> Need:
    """Ranges of what it reads, and of what it writes."""
    writes = form.output is not None and form.output_range is None
    return Need(form.kernel, form.activation is not None, writes)


def missing_data(program: Program, region: Region, need: Need) -> str | None:
    """Why a static form cannot be built from the observations, None if it can."""
    if need.kernel is Kernel.DYNAMIC:
        return _nonfinite(program, [each.value for each in region.activations])
    if need.kernel is not Kernel.STATIC:
        return None
    needed = [each.value for each in region.activations] if need.reads else []
    if need.writes:
        needed.append(region.output)
    fixed = () if program.absorbed is None else program.absorbed.values
    for value in needed:
        seen = program.observations.get(value.name or "")
        if value.name in fixed:
            continue
        if seen is None or seen.count == 0:
            return f"'{value.name}' was not observed in calibration"
    return _nonfinite(program, needed)


def _nonfinite(program: Program, values: Sequence[ir.Value]) -> str | None:
    """Said of the first value in which calibration saw infinity or NaN."""
    for value in values:
        seen = program.observations.get(value.name or "")
        if seen is not None and any(seen.nonfinite):
            return f"'{value.name}' has infinite or NaN values (a mask?)"
    return None


@dataclass(frozen=True, eq=False)
class Offer:
    """Forms that many regions are offered alike, looked through once for all of them.

    Attributes:
        forms: The target's preferred one first.
        needs: The data that they want, each kind once.
        searched: Those that the search tries.
        others: Those that it does not.
    """

    forms: tuple[Implementation, ...]
    needs: frozenset[Need]
    searched: tuple[Implementation, ...]
    others: tuple[Implementation, ...]

    @classmethod
    def of(cls, forms: tuple[Implementation, ...], pinned: str | None = None) -> Offer:
        """The offer; a form that is asked for by name is searched, too."""
        needs = frozenset(need_of(form) for form in forms)
        offered = [form.searched or form.precision == pinned for form in forms]
        both = list(zip(forms, offered, strict=True))
        searched = tuple(form for form, is_offered in both if is_offered)
        return cls(forms, needs, searched, tuple(form for form, found in both if not found))
