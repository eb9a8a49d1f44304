"""8-bit forms are not offered where the share of a value counts; the network keeps its decades."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

import qcompiler as qc
from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions import forms
from qcompiler.decisions.forms import region_options
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text

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
    compiled = qc.compile(program, "onnxruntime", waves(4), scheme="int8", recipe="fast")
    found = {each.region.key: each for each in _options(compiled.program)}
    assert [form.precision for form in found["sum"].legal] == ["int16"]
    assert "'sum': Sqrt 'root' wants a share of it, not a step" in "; ".join(found["sum"].reasons)


def _options(program: Program) -> list[forms.Options]:
    target = OnnxRuntime(1)
    return region_options(program, target, target.regions(program))
