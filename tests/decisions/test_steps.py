"""8-bit forms are not offered where the share of a value counts; the network keeps its decades."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions import forms
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline

SPECTRUM = """g (float[4,32] x) => (float[4,16] y) <float[32,16] c, float[32,16] s> {
    [re] re = MatMul(x, c) [im] im = MatMul(x, s)
    [pr] pr = Mul(re, re) [pi] pi = Mul(im, im) [sum] sum = Add(pr, pi) [root] y = Sqrt(sum) }"""


def spectrum() -> Program:
    turn = np.outer(np.arange(32), np.arange(1, 17)) * (2 * np.pi / 32)
    stored = {"c": np.cos(turn).astype(np.float32), "s": np.sin(turn).astype(np.float32)}
    return from_text(SPECTRUM, stored)


def waves(count: int) -> list[dict[str, npt.NDArray[np.float32]]]:
    draw = np.random.default_rng(0)
    sizes = np.logspace(-2, 0, 4)[:, None]
    return [{"x": np.asarray(draw.normal(size=(4, 32)) * sizes, np.float32)} for _ in range(count)]


def relative_error(program: Program) -> float:
    """Median error of a magnitude, as a share of it; numpy is the oracle."""
    feeds = waves(16)
    compiled = qc.compile(program, "onnxruntime", feeds, scheme="int8", recipe="fast")
    errors = []
    for feed in waves(4):
        wanted = np.abs(np.fft.rfft(feed["x"], axis=1)[:, 1:])
        errors.append(np.abs(compiled.run(feed)[0] - wanted) / wanted)
    return float(np.median(errors))


def test_a_spectrum_keeps_its_decades(monkeypatch: pytest.MonkeyPatch) -> None:
    # Magnitudes lie in two decades: a step of 1/255 of the largest is 4 % of a middle one, and of
    # powers (four decades) more than all of it.
    assert relative_error(spectrum()) < 0.1
    monkeypatch.setattr(forms, "relative_values", lambda program: {})
    assert relative_error(spectrum()) > 0.15


def test_reasons_are_told_and_wide_numbers_are_offered() -> None:
    program = spectrum()
    found = {each.region.key: each for each in _options(program)}
    assert [form.precision for form in found["sum"].legal] == ["int16"]
    assert "'sum': Sqrt 'root' wants a share of it, not a step" in "; ".join(found["sum"].reasons)


def test_a_layer_loses_its_integers_under_a_logarithm_alone() -> None:
    for op, kept in (("Sqrt", True), ("Log", False)):
        text = (
            "g (float[1,2,8] x) => (float[1,2,8] z) <float[2,2,1] w> "
            f"{{ [head] a = Conv(x, w) y = Clip(a) [tail] z = Conv(y, w) r = {op}(y) }}"
        ).replace("=> (float[1,2,8] z)", "=> (float[1,2,8] z, float[1,2,8] r)")
        program = from_text(text, {"w": np.ones((2, 2, 1), np.float32)})
        feeds = [{"x": np.ones((1, 2, 8), np.float32)}]
        found = {each.region.key: each for each in _options(program, feeds)}
        assert ("int8" in [form.precision for form in found["head"].legal]) is kept
        assert found["tail"].named("int8") is not None


def test_a_network_that_is_nothing_else_keeps_its_forms() -> None:
    graph = "g (float[1,2,8] x) => (float[1,2,8] z) <float[2,2,1] w>"
    text = f"{graph} {{ [head] a = Conv(x, w) z = Log(a) }}"
    program = from_text(text, {"w": np.ones((2, 2, 1), np.float32)})
    feeds = [{"x": np.ones((1, 2, 8), np.float32)}]
    assert _options(program, feeds)[0].named("int8") is not None


def _options(
    program: Program, feeds: list[dict[str, npt.NDArray[np.float32]]] | None = None
) -> list[Options]:
    target, copy = OnnxRuntime(1), program.clone()
    steps = Pipeline.parse("insert-observers,calibrate")
    steps.run(copy, PassContext(target, feeds or waves(2)))
    return region_options(copy, target, target.regions(copy))


@pytest.mark.parametrize("op", ["Softmax", "Sigmoid"])
def test_probabilities_that_are_given_out_are_in_integers_if_an_override_says_so(op: str) -> None:
    """No scheme takes the form; an override does, and the plan that it comes to applies again."""
    draw = np.random.default_rng(0)
    steps = f"[m] a = MatMul(x, w) [p] y = {op}(a)"
    text = f"g (float[4,8] x) => (float[4,8] y) <float[8,8] w> {{ {steps} }}"
    program = from_text(text, {"w": draw.normal(size=(8, 8)).astype(np.float32)})
    feeds = [{"x": draw.normal(size=(4, 8)).astype(np.float32)} for _ in range(4)]
    given: dict[str, Any] = {"recipe": "fast", "calibration": feeds}
    plain = qc.compile(program, "onnxruntime", scheme="int8", **given)
    assert plain.plan.precision("p") == "float32"
    forced = qc.compile(program, "onnxruntime", scheme="int8", overrides={"p": "int8"}, **given)
    assert forced.plan.precision("p") == "int8"
    assert forced.plan.choices["p"].reason == "override"
    found = forced.run(feeds[0])[0]
    assert np.unique(found).size <= 256
    step = np.min(np.diff(np.unique(np.append(found, 0.0))))
    np.testing.assert_allclose(found / step, np.round(found / step), atol=1e-2)
    again = qc.compile(program, "onnxruntime", plan=forced.plan, **given)
    assert again.plan.precision("p") == "int8"
