"""How every output is judged: by the origins of its elements, or by the data where none are known.

See `shadow` for where origins come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.ir.program import Program
from qcompiler.ir.signature import Feed
from qcompiler.measurement.shadow import Shadow
from qcompiler.measurement.slices import (
    OutputSlices,
    plain_slices,
    slices_by_data,
    slices_by_origin,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Slicer:
    """Slices of a program's outputs. What was found of a feed is found once.

    Attributes:
        program: The program whose outputs these are; not changed.
    """

    program: Program

    @cached_property
    def _shadow(self) -> Shadow:
        return Shadow(self.program)

    def __call__(
        self, feeds: Sequence[Feed], reference: Sequence[Sequence[Any]]
    ) -> list[OutputSlices]:
        """How every output is judged.

        Args:
            feeds: The samples.
            reference: What float gives for them.
        """
        found = plain_slices(reference)
        if not reference:
            return found
        shadow = self._shadow
        origins = shadow.run(feeds)
        for position, name in enumerate(self.program.signature.output_names[: len(found)]):
            samples = [outputs[position] for outputs in reference]
            if not all(map(is_numeric, samples)):
                continue
            of_output = [each.get(name) for each in origins]
            whole = shadow.whole.get(name)
            if samples[0].dtype.kind == "b" or (whole is not None and shadow.labels[whole]):
                found[position] = OutputSlices((True,), (None,) * len(samples))
            elif _fit(of_output, samples):
                given = [each for each in of_output if each is not None]
                labels = shadow.labels_of(given)
                found[position] = slices_by_origin(samples, given, labels, shadow.scores)
            elif whole is not None or samples[0].dtype.kind == "f":
                found[position] = slices_by_data(samples)
        return found


def is_numeric(output: Any) -> bool:
    """Whether it is an array of numbers or booleans: no list, no text, nothing absent."""
    return isinstance(output, np.ndarray) and output.dtype.kind in "fiub"


def _fit(origins: Sequence[Array | None], samples: Sequence[Array]) -> bool:
    pairs = zip(origins, samples, strict=True)
    return all(origin is not None and origin.shape == each.shape for origin, each in pairs)
