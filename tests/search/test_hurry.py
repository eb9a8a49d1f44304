"""Ctrl-C: a slow model is not run again, its profiles say what is known; nothing found is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.artifact import OrtArtifact
from qcompiler.execution.timing import Latency
from qcompiler.ir.plan import FLOAT
from qcompiler.ir.signature import Feed
from qcompiler.ir.text import from_text
from qcompiler.search.hurry import least_seconds
from qcompiler.target.artifact import CostSample

NETWORK = """
net (float[N,64] x) => (float[N,64] y) <float[64,64] v, float[64,64] w> {
  h = MatMul(x, v)
  [product] y = MatMul(h, w)
}
"""
FEEDS = [np.random.default_rng(i).normal(size=(4, 64)).astype(np.float32) for i in range(4)]


def _profile(seconds: float) -> Callable[[Any, Sequence[Feed]], CostSample]:
    """A region takes so long in float, half of it in integers."""

    def profile(self: Any, feeds: Sequence[Feed]) -> CostSample:
        plan = self._program.plan
        costs = {k: seconds * (1.0 if p == FLOAT else 0.5) for k, p in plan.precisions.items()}
        return CostSample(costs, 0.0, 0.0)

    return profile


class _Timing:
    """In the place of `compare_latency`: Ctrl-C while it runs, the first time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        monkeypatch.setattr("qcompiler.search.proof.compare_latency", self)

    def __call__(self, runs: Any, *_: Any, **__: Any) -> dict[str, Latency]:
        self.calls += 1
        if self.calls == 1:
            raise KeyboardInterrupt
        return {name: Latency(1e-3, 1.0, 1.0, 1.0, 3) for name in runs}


def _compiled(target: str = "onnxruntime") -> qc.Compiled:
    return qc.compile(from_text(NETWORK), target, FEEDS, recipe="fast", max_loss=0.5)


@pytest.mark.usefixtures("clock")
def test_a_slow_model_is_judged_by_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrtArtifact, "profile", _profile(10.0))
    timing = _Timing(monkeypatch)
    compiled = _compiled()
    assert compiled.report.interrupted
    assert timing.calls == 1
    assert FLOAT not in compiled.plan.precisions.values()
    assert "2.00x by its profile" in compiled.report.summary


@pytest.mark.usefixtures("clock")
def test_a_quick_model_is_timed_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrtArtifact, "profile", _profile(1e-5))
    timing = _Timing(monkeypatch)
    compiled = _compiled()
    assert compiled.report.interrupted
    assert timing.calls == 2
    assert "by its profile" not in compiled.report.summary


@pytest.mark.usefixtures("clock")
def test_a_second_ctrl_c_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("qcompiler.search.proof.compare_latency", pressed)
    with pytest.raises(KeyboardInterrupt):
        _compiled()


@pytest.mark.usefixtures("clock")
def test_ctrl_c_while_engines_are_compared_keeps_what_they_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def pressed(*given: Any, **_: Any) -> None:
        calls.append(given)
        raise KeyboardInterrupt

    monkeypatch.setattr("qcompiler.search.engines.timed_beside", pressed)
    compiled = _compiled("cpu")
    assert len(calls) == 1
    assert compiled.report.interrupted


def test_what_a_timing_takes_is_that_of_all_runs() -> None:
    one, other = Latency(0.1, 1, 1, 1, 0), Latency(0.2, 2, 2, 2, 0)
    assert least_seconds({"float": one, "other": other}) == pytest.approx(11 * 0.3)
    assert least_seconds({}) == 0
