"""Forms whose one step for all sizes is too coarse for a value of which a share counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qcompiler.ir.regions import Region
from qcompiler.quantization.qspace import QSpace
from qcompiler.target.capability import Implementation, Kernel

_BITS = 8
"""More bits hold a value over five decades, as floats do."""


def too_coarse(
    region: Region, forms: Sequence[Implementation], relative: Mapping[str, str]
) -> dict[str, str]:
    """Static forms that read or write such a value in 8 bits or fewer, by precision, with why.

    A region with a weight keeps its forms where it would lose all of them: its time is the
    model's. Where a kernel gives float, that form is left.

    Args:
        region: The region.
        forms: What the target offers for it.
        relative: Values and reasons of `relative_values`.
    """
    found = {}
    for form in forms:
        reason = _reason(region, form, relative)
        if reason is not None:
            found[form.precision] = reason
    static = [each.precision for each in forms if each.kernel is Kernel.STATIC]
    return {} if region.weight is not None and all(each in found for each in static) else found


def _reason(region: Region, form: Implementation, relative: Mapping[str, str]) -> str | None:
    if form.kernel is not Kernel.STATIC:
        return None
    touched = [region.output.name or ""] if _is_coarse(form.output) else []
    if _is_coarse(form.activation) and region.weight is None:
        touched += [each.value.name or "" for each in form.choose_operands(region.activations)]
    return next((f"'{name}': {relative[name]}" for name in touched if name in relative), None)


def _is_coarse(space: QSpace | None) -> bool:
    return space is not None and not space.is_float and space.used_bits <= _BITS
