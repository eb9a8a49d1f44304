"""Forms whose one step for all sizes is too coarse for a value of which a share counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qcompiler.ir.regions import Region
from qcompiler.ir.relative import Relative
from qcompiler.quantization.qspace import QSpace
from qcompiler.target.capability import Implementation, Kernel

_BITS = 8
"""More bits hold a value over five decades, as floats do."""


def too_coarse(
    region: Region, forms: Sequence[Implementation], relative: Mapping[str, Relative]
) -> dict[str, str]:
    """Static forms that read or write such a value in 8 bits or fewer, by precision, with why.

    A region with a weight keeps its forms under a root if it has no form that gives float: its time
    is the model's. Under a logarithm or as a divisor nothing would be left of small values.

    Args:
        region: The region.
        forms: What the target offers for it.
        relative: Of `relative_values`.
    """
    near = [region.output, *(each.value for each in region.activations)]
    if not any((value.name or "") in relative for value in near):
        return {}
    found = {}
    for form in forms:
        name = _touched(region, form, relative)
        if name is not None:
            found[form.precision] = name
    if region.weight is not None and not any(_gives_float(form) for form in forms):
        found = {form: name for form, name in found.items() if relative[name].is_lost_in_steps}
    return {form: f"'{name}': {relative[name].reason}" for form, name in found.items()}


def _gives_float(form: Implementation) -> bool:
    return form.kernel is Kernel.STATIC and form.output is None


def _touched(region: Region, form: Implementation, relative: Mapping[str, Relative]) -> str | None:
    """The first relative value that a form has in coarse steps."""
    if form.kernel is not Kernel.STATIC:
        return None
    touched = [region.output.name or ""] if _is_coarse(form.output) else []
    if _is_coarse(form.activation) and region.weight is None:
        touched += [each.value.name or "" for each in form.choose_operands(region.activations)]
    return next((name for name in touched if name in relative), None)


def _is_coarse(space: QSpace | None) -> bool:
    return space is not None and not space.is_float and space.used_bits <= _BITS
