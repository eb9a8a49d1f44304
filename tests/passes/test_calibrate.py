"""calibrate: what it leaves in the program, and what it warns about."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from qcompiler.errors import CalibrationError
from qcompiler.frontends.load import load
from qcompiler.ir.diagnostics import Severity
from qcompiler.ir.program import Program, Property
from qcompiler.ir.text import to_text
from qcompiler.passes.calibrate import Calibrate
from qcompiler.passes.insert_observers import InsertObservers
from qcompiler.pipeline.contract import PassContext, PassReport

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
RELU = "g (float[n, 2] x) => (float[n, 2] y) { a = Neg(x)  y = Relu(a) }"
BRANCHES = """g (float[n, 2] x, bool c) => (float[n, 2] y)
{ y = If (c) <then_branch = t () => (float[n, 2] a) { a = Neg(x) },
     else_branch = e () => (float[n, 2] b) { m = Abs(x)  b = Relu(m) }> }"""


def calibrated(graph: str, feeds: Any, **options: Any) -> tuple[Program, PassReport]:
    program = load(onnx.parser.parse_model(HEAD + graph))
    context = PassContext(feeds=feeds, **options)
    InsertObservers().run(program, context)
    return program, Calibrate().run(program, context)


X = np.array([[1, -2], [0, 4]], np.float32)


def test_observations_and_readable_bounds() -> None:
    program, report = calibrated(RELU, [X])
    bounds = {name: (o.low, o.high) for name, o in program.observations.items()}
    assert bounds == {"x": (-2, 4), "a": (-4, 2), "y": (0, 2)}
    assert report.details["samples"] == 1
    assert report.diagnostics == ()
    assert '# observe "a": range {"method": "minmax"} saw [-4, 2]' in to_text(program)


def test_calibrating_again_starts_afresh() -> None:
    program, _ = calibrated(RELU, [X])
    Calibrate().run(program, PassContext(feeds=[{"x": X / np.float32(2)}]))
    assert program.observations["x"].high == 2
    assert program.observations["x"].count == 4


def test_a_branch_never_taken_is_one_warning() -> None:
    taken = {"x": X, "c": np.array(True)}
    _, report = calibrated(BRANCHES, [taken])
    (warning,) = report.diagnostics
    assert warning.severity is Severity.WARNING
    assert warning.rule == "never-run"
    assert "else_branch" in warning.message
    _, report = calibrated(BRANCHES, [taken, {"x": X, "c": np.array(False)}])
    assert report.diagnostics == ()


def test_nonfinite_values_name_the_node() -> None:
    graph = "g (float[n, 2] x) => (float[n, 2] y) { a = Log(x)  y = Relu(a) }"
    program, report = calibrated(graph, [X])
    found = next(each for each in report.diagnostics if "'a'" in each.message)
    assert found.rule == "nonfinite"
    assert "1 x -inf, 0 x +inf, 1 x NaN" in found.message
    assert found.node == "Log_a"
    assert program.observations["a"].nonfinite == (1, 0, 1)
    _, report = calibrated(graph, [np.abs(X) + 1])
    assert report.diagnostics == ()


def test_no_data() -> None:
    with pytest.raises(CalibrationError, match="no calibration data"):
        calibrated(RELU, None)
    with pytest.raises(CalibrationError, match="empty"):
        calibrated(RELU, [])


class Recording:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.total: int | None = -1
        self.done = 0
        self.finished = False

    def start(self, task: str, total: int | None) -> None:
        self.total = total

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.done += amount

    def finish(self) -> None:
        self.finished = True


def test_progress() -> None:
    progress = Recording()
    calibrated(RELU, [X] * 5, progress=progress)
    assert (progress.total, progress.done, progress.finished) == (5, 5, True)
    progress = Recording()
    calibrated(RELU, (X for _ in range(5)), progress=progress)
    assert (progress.total, progress.done) == (None, 5)
    progress = Recording()
    with pytest.raises(CalibrationError):
        calibrated(RELU, [X, X * np.nan], progress=progress)
    assert progress.finished


def test_feeds_are_read_once() -> None:
    reads = []

    def feeds() -> Any:
        for number in range(3):
            reads.append(number)
            yield X

    calibrated(RELU, feeds())
    assert reads == [0, 1, 2]


def test_declared_properties() -> None:
    assert Calibrate.requires == {Property.OBSERVED}
    assert Calibrate.establishes == {Property.CALIBRATED}
