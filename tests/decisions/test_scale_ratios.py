"""Kernels with bounded ratios of scales: what `resolve` makes of ranges beyond them, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.decisions.placement import Placement
from qcompiler.decisions.resolve import resolve
from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.text import from_text
from qcompiler.quantization.observers import MinMax

LEAST, GREATEST = 1 / 16, 16.0
TEXT = """g (float[4] a, float[4] b, float[4] c) => (float[4] t)
{ [one] s = Add(a, b) [two] t = Add(s, c) }"""


def _resolved(spans: dict[str, float], bounded: bool = True) -> Placement:
    """Both sums in integers, every value over a span of as many steps of 1 as uint8 has."""
    program = from_text(TEXT)
    for name, step in spans.items():
        ends = np.asarray([[-100.0 * step, 155.0 * step]])
        program.observations[name] = MinMax.empty().update(ends)
    target = OnnxRuntime(1)
    options = region_options(program, target, target.regions(program))
    if bounded:
        options = [_bounded(each) for each in options]
    plan = Plan("onnxruntime", {key: Choice("int8") for key in ("one", "two")})
    return resolve(program.observations, options, plan)


def _bounded(options: Options) -> Options:
    forms = [
        replace(form, ratios=lambda _: (LEAST, GREATEST)) if form.precision == "int8" else form
        for form in options.implementations
    ]
    return replace(options, implementations=tuple(forms))


def _steps(found: Placement) -> dict[str, float]:
    return {name: round(float(each.scale), 4) for (name, _), each in found.values.items()}


def test_results_finer_than_the_kernel_writes_are_coarser_and_so_is_what_reads_them() -> None:
    """64 / 16 = 4 for s, and 4 / 16 = 0.25 for t; zero points stay."""
    spans = {"a": 64.0, "b": 1.0, "s": 0.5, "c": 0.25, "t": 0.0625}
    found = _resolved(spans)
    assert _steps(found) == {"a": 64.0, "b": 1.0, "s": 4.0, "c": 0.25, "t": 0.25}
    assert {int(each.zero_point) for each in found.values.values()} == {100}
    assert _steps(_resolved(spans, bounded=False)) == spans


@pytest.mark.parametrize("step", [0.01, 1.0, 5.0])
def test_operands_drowned_in_the_result_are_read_in_a_coarser_scale(step: float) -> None:
    """80 / 16 = 5 is what b is read with; its own scale, for its other readers, stays."""
    found = _resolved({"a": 80.0, "b": step, "s": 80.0, "c": 80.0, "t": 80.0})
    a, b = found.regions["one"].activations
    assert b.params is not None
    assert float(b.params.scale) == pytest.approx(5.0)
    assert (a.requantized, b.requantized) == (False, step < 5.0)
    assert _steps(found)["b"] == pytest.approx(step)
