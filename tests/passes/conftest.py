"""Text in → pass → text out, with ONNX Runtime (unoptimized) as the judge of the function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text, node_line
from qcompiler.ir.verifier import verify
from qcompiler.pipeline.contract import Pass, PassContext, PassReport
from tests.oracle import unoptimized

Array = npt.NDArray[Any]
Feed = Mapping[str, Array]

_ROUNDING = 64 * 2.0**-24
"""Sums of up to 64 terms, relative to the largest result: n·u (Higham, Accuracy and Stability)."""


@dataclass(frozen=True)
class Rewritten:
    """A program after its passes.

    Attributes:
        program: The result.
        lines: Its nodes as text, without their names.
        ops: Their operators, in order.
        reports: What each pass reported.
    """

    program: Program
    lines: tuple[str, ...]
    ops: tuple[str, ...]
    reports: tuple[PassReport, ...]


Rewrite = Callable[..., Rewritten]


def _run(program: Program, feed: Feed) -> list[Array]:
    return unoptimized(program, feed)


def _draw(program: Program) -> dict[str, Array]:
    """Inputs between -8 and 8 (beyond every clamp in the tests); open dimensions are 2."""
    rng = np.random.default_rng(1)
    feed = {}
    for value in program.graph.inputs:
        assert value.shape is not None
        assert value.dtype is not None
        shape = [dim if isinstance(dim, int) else 2 for dim in value.shape]
        feed[value.name or ""] = (rng.uniform(-8, 8, shape)).astype(value.dtype.numpy())
    return feed


def _assert_same(before: Sequence[Array], after: Sequence[Array], tolerance: float) -> None:
    assert len(before) == len(after)
    for wanted, found in zip(before, after, strict=True):
        assert wanted.dtype == found.dtype
        assert wanted.shape == found.shape
        bound = tolerance * max(1.0, float(np.abs(wanted.astype(np.float64)).max(initial=0.0)))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)


@pytest.fixture
def rewrite() -> Rewrite:
    """Runs passes on text; checks function, signature, soundness and that a second run is idle."""

    def run(
        text: str,
        *passes: Pass,
        weights: Mapping[str, Array] | None = None,
        feed: Feed | None = None,
        tolerance: float = _ROUNDING,
    ) -> Rewritten:
        program = from_text(text, weights)
        feed = _draw(program) if feed is None else feed
        wanted = _run(program, feed)
        names = [value.name for value in program.graph.outputs]
        reports = tuple(each.run(program, PassContext()) for each in passes)
        assert [str(finding) for finding in verify(program)] == []
        assert [value.name for value in program.graph.outputs] == names
        _assert_same(wanted, _run(program, feed), tolerance)
        for each in passes:
            again = each.run(program, PassContext())
            assert not again.modified, (each.name, again)
        nodes = list(program.graph)
        lines = tuple(node_line(node).split("] ", 1)[-1] for node in nodes)
        return Rewritten(program, lines, tuple(node.op_type for node in nodes), reports)

    return run
