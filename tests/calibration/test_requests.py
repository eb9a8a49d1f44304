"""One run serves every request: ranges and other statistics of one value, bodies included."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest

import qcompiler as qc
from qcompiler.frontends.load import load
from qcompiler.ir.program import Program
from qcompiler.ir.requests import Request
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.text import from_text
from qcompiler.passes.calibrate import Calibrate
from qcompiler.passes.insert_observers import InsertObservers
from qcompiler.pipeline import registry
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage
from qcompiler.statistics.kinds import ChannelMean, Gram
from qcompiler.statistics.statistic import Statistic
from qcompiler.target.contract import Target

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
BRANCH = """g (float[n, 3] x, bool c) => (float[n, 3] y)
{ o = Neg(x)
  y = If (c) <then_branch = t () => (float[n, 3] a) { a = Abs(o) },
     else_branch = e () => (float[n, 3] b) { b = Relu(o) }> }"""


def feeds(count: int = 5) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [
        {"x": rng.normal(0, 1, (4, 3)).astype(np.float32), "c": np.array(index % 2 == 0)}
        for index in range(count)
    ]


def check_moments(found: Statistic, data: np.ndarray) -> None:
    assert isinstance(found, Gram)
    assert found.moments is not None
    np.testing.assert_allclose(found.moments, np.asarray(data.T @ data), rtol=1e-9)


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_ranges_and_other_statistics_of_one_value(method: str, tmp_path: Path) -> None:
    asked = {value: Request.of(value, "gram", axis=-1) for value in ("o", "a")}
    asked["mean"] = Request.of("o", "channel-mean", axis=1)
    results = []
    for checkpoint in (None, tmp_path / "k"):
        program = load(onnx.parser.parse_model(HEAD + BRANCH))
        InsertObservers(method=method).run(program, PassContext())
        program.requests |= dict.fromkeys(asked.values())
        options = {} if checkpoint is None else {"checkpoint": checkpoint}
        Calibrate().run(program, PassContext(feeds=feeds(), options=options))
        results.append(program)
    data = np.concatenate([-feed["x"] for feed in feeds()]).astype(np.float64)
    taken = np.concatenate([np.abs(f["x"]) for f in feeds() if f["c"]]).astype(np.float64)
    for program in results:
        assert (program.observations["o"].low, program.observations["o"].high) == (
            data.min(), data.max(),
        )  # fmt: skip
        outer, nested = (program.statistics[asked[name]] for name in ("o", "a"))
        check_moments(outer, data)
        check_moments(nested, taken)
        mean = program.statistics[asked["mean"]]
        assert isinstance(mean, ChannelMean)
        np.testing.assert_allclose(mean.mean, data.mean(0), rtol=1e-9, atol=1e-12)


_SEEN: list[Program] = []


@dataclasses.dataclass(frozen=True)
class _Asking(Pass):
    """An accuracy pass that reads second moments."""

    name: ClassVar[str] = "toy-asking"
    stage: ClassVar[Stage] = Stage.PLACED

    def requests(self, program: Program, target: Target | None) -> Sequence[Request]:
        return (Request.of("x", "gram"),)

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        _SEEN.append(program)
        return Outcome()


def test_what_a_variant_asks_for_is_taken_while_calibrating() -> None:
    source = from_text("g (float[4,3] x) => (float[4,2] y) <float[3,2] w> { y = MatMul(x, w) }")
    given = [{"x": feed["x"]} for feed in feeds()]
    registry.register_pass(_Asking)
    try:
        qc.compile(source, calibration=given, scheme="int8", variants=["toy-asking"])
    finally:
        registry.PASSES.forget(_Asking.name)
    found = _SEEN[-1].statistics[Request.of("x", "gram")]
    data = np.concatenate([feed["x"] for feed in given]).astype(np.float64)
    check_moments(found, data)
    assert found.count == len(data)  # once, whatever was tried
