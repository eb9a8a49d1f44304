"""Random scales on every channel that may have one; ONNX Runtime says whether outputs changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.frontends.inference import infer_types
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.text import from_text
from qcompiler.ir.verifier import verify
from qcompiler.ir.walk import all_nodes
from qcompiler.passes.equalization.analysis import Scales, scaled_values
from qcompiler.passes.equalization.folding import fold_scales
from tests.oracle import unoptimized

Array = npt.NDArray[Any]

_ROUNDING = 256 * 2.0**-24
"""A few layers of sums of up to 64 terms, relative to the largest result."""


@dataclass(frozen=True)
class Scaled:
    """What scaling came to.

    Attributes:
        free: How many scales could be chosen.
        before: Outputs before.
        after: Outputs after.
        scales: What the analysis found.
    """

    free: int
    before: list[Array]
    after: list[Array]
    scales: Scales

    @property
    def error(self) -> float:
        """Largest difference relative to the largest result, in what rounding explains."""
        pairs = zip(self.before, self.after, strict=True)
        return max(
            float(np.abs(a - b).max() / max(1e-30, np.abs(a).max())) / _ROUNDING for a, b in pairs
        )


def outputs(program: Program, feed: Mapping[str, Array]) -> list[Array]:
    """Of ONNX Runtime without its optimizations."""
    return [each.astype(np.float64) for each in unoptimized(program, feed)]


Scale = Callable[..., Scaled]


@pytest.fixture
def scale() -> Scale:
    """Scales all that the analysis calls free, by up to 4 either way, and compares.

    Nothing is known of the shapes of `unranked` values.
    """

    def run(
        text: str,
        weights: Mapping[str, Array],
        feed: Mapping[str, Array],
        seed: int = 0,
        unranked: Sequence[str] = (),
    ) -> Scaled:
        program = from_text(text, weights)
        infer_types(program.model)
        for node in all_nodes(program.model):
            for value in node.outputs:
                value.shape = None if value.name in unranked else value.shape
        before = outputs(program, feed)
        found = scaled_values(program)
        logs = np.random.default_rng(seed).uniform(-1.4, 1.4, found.freedom.count)
        logs[0] = 0.0
        for clamp in found.clamps:  # bounds are not this law's concern
            logs[found.freedom.component[clamp.slots]] = 0.0
        fold_scales(found, logs, Rewriter(program))
        assert [str(finding) for finding in verify(program)] == []
        return Scaled(found.freedom.count - 1, before, outputs(program, feed), found)

    return run
