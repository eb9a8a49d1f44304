"""A model that kills OpenVINO's process is refused; the user's process goes on."""

from __future__ import annotations

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.errors import LoweringError
from qcompiler.execution.openvino import probe as probing
from qcompiler.execution.openvino.probe import is_risky, probe
from qcompiler.execution.openvino.session import available
from qcompiler.ir.text import from_text

pytestmark = pytest.mark.skipif(not available(), reason="openvino is not installed")

BRANCHING = """
net (bool c, float[n,4] x) => (float[n,4] y) {
  y = If(c) <then_branch = t () => (float[n,4] a) { a = Relu(x) },
            else_branch = e () => (float[n,4] b) { b = Neg(x) }>
}
"""
PLAIN = "net (float[n,4] x) => (float[n,4] y) { y = Relu(x) }"
FEED = {"c": np.array(True), "x": np.ones((2, 4), np.float32)}
_KILL = "import os, signal; os.kill(os.getpid(), signal.SIGFPE)"


def test_what_runs_is_let_through() -> None:
    program = from_text(BRANCHING)
    assert is_risky(program.model)
    probe(program.model, FEED)


def test_what_is_killed_is_refused_with_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_RUN", _KILL)
    with pytest.raises(LoweringError, match="SIGFPE"):
        qc.compile(from_text(BRANCHING), "openvino", [FEED], scheme="float32", recipe="fast")


def test_an_exception_there_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_RUN", "raise ValueError")
    probe(from_text(BRANCHING).model, FEED)


def test_a_plain_model_needs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_RUN", _KILL)
    assert not is_risky(from_text(PLAIN).model)
    feeds = [{"x": FEED["x"]}]
    compiled = qc.compile(from_text(PLAIN), "openvino", feeds, scheme="float32", recipe="fast")
    np.testing.assert_array_equal(compiled.run(feeds[0])[0], FEED["x"])
