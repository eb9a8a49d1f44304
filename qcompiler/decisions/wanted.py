"""`Wanted`: what a form has to be, said by its kernel and its numbers; the rows of a scheme."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qcompiler.quantization.qspace import Granularity, QSpace
from qcompiler.target.capability import Implementation, Kernel

UNWEIGHTED = "none"


@dataclass(frozen=True)
class Wanted:
    """Properties of a form; None takes any.

    Attributes:
        kernel: How it computes.
        activation: `QSpace.numbers` of its activations, of its result if it reads float: `int8`,
            `int16`, `float8e4m3fn`.
        weight: `QSpace.numbers` of its weight; `UNWEIGHTED` takes forms that have none.
        block: Weights per scale.
        per: What has a scale of its own in the weight: the tensor or each channel.
        symmetric: Whether the weight's zero points are fixed.
        precision: Its own name, for a form of one target that no scheme describes.
        around: Taken only for what surrounds regions that another row takes: a model or a target
            that has nothing but such forms does not have the scheme.
    """

    kernel: Kernel | None = None
    activation: str | None = None
    weight: str | None = None
    block: int | None = None
    per: Granularity | None = None
    symmetric: bool | None = None
    precision: str | None = None
    around: bool = False

    def takes(self, form: Implementation) -> bool:
        """Whether the form is like this."""
        return (
            self.kernel in (None, form.kernel)
            and self.activation in (None, _numbers(form.activation or form.output))
            and self.weight in (None, _numbers(form.weight) or UNWEIGHTED)
            and self.block in (None, form.weight.group_size if form.weight else None)
            and self.per in (None, form.weight.granularity if form.weight else None)
            and self.symmetric in (None, form.weight.symmetric if form.weight else None)
            and self.precision in (None, form.precision)
        )


def _numbers(space: QSpace | None) -> str | None:
    return None if space is None else space.numbers


def first_choice(
    wanted: Sequence[Wanted], forms: Iterable[Implementation], name: str
) -> Implementation | None:
    """The form that the first possible row takes; of several, the one of that name, or the first.

    Args:
        wanted: Rows, the first choice first.
        forms: What there is, the target's preferred one first.
        name: What the user called it.
    """
    offered = list(forms)
    for row in wanted:
        taken = [form for form in offered if row.takes(form)]
        if taken:
            return next((form for form in taken if form.precision == name), taken[0])
    return None


def looked_up(wanted: Sequence[Wanted], forms: Iterable[Implementation]) -> Implementation | None:
    """The form of a stored table: with the numbers of a row, else the first that there is.

    A look-up computes nothing, so rows about products say no more about it.
    """
    offered = list(forms)
    for row in wanted:
        kinds = (row.weight, row.activation)
        alike = [each for each in offered if each.weight and each.weight.numbers in kinds]
        if alike:
            return next((form for form in alike if row.takes(form)), alike[0])
    return offered[0] if offered else None


def families(names: Iterable[str]) -> list[str]:
    """The first of all names that differ in numbers only, such as sizes of blocks."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(family(name), name)
    return list(found.values())


def family(name: str) -> str:
    """The name without the bits of its levels and the size of its blocks."""
    return re.sub(r"-b\d+|(?<=codebook)\d+|(?<=log2)-\d+|(?<=log2x2)-\d+", "", name)
