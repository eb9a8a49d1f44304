"""Golden tests of placement: text and a plan in, one pass, text out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text, node_line
from qcompiler.ir.verifier import verify
from qcompiler.pipeline.contract import PassContext, PassReport
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.quantization.observers import MinMax
from tests import oracle

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Placed:
    """A program after its passes.

    Attributes:
        program: The result.
        lines: Its nodes as text, without their names.
        reports: What every pass reported, by pass name.
    """

    program: Program
    lines: tuple[str, ...]
    reports: Mapping[str, PassReport]

    def array(self, name: str) -> Array:
        """A constant of the main graph."""
        tensor = self.program.graph.initializers[name].const_value
        assert tensor is not None
        return np.asarray(tensor.numpy())


@pytest.fixture
def place() -> Callable[..., Placed]:
    """Runs passes on text whose values have these ranges, under this plan."""

    def run(
        text: str,
        passes: str,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        plan: Mapping[str, str] | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> Placed:
        program = from_text(text, weights)
        for name, (low, high) in (ranges or {}).items():
            program.observations[name] = MinMax.empty().update(np.asarray([[low, high]]))
        given = Plan("onnxruntime", {key: Choice(value) for key, value in (plan or {}).items()})
        context = PassContext(OnnxRuntime(1), options={"plan": given} if plan else {})
        report = Pipeline.parse(passes).run(program, context)
        assert [str(found) for found in verify(program)] == []
        lines = tuple(
            node_line(node).split("] ", 1)[-1]
            for node in ir.traversal.RecursiveGraphIterator(program.graph)
        )
        reports = {each.report.name: each.report for each in report.runs}
        return Placed(program, lines, reports)

    return run


@pytest.fixture
def unoptimized() -> Callable[..., list[Array]]:
    """Outputs of a program on ONNX Runtime with its optimizations off."""
    return oracle.unoptimized


Outputs = Sequence[Array]
