"""Ranges from the user: what they change, what they may be called, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

import qcompiler as qc
from qcompiler.decisions.clipping import clippings
from qcompiler.errors import ConfigurationError
from qcompiler.ir.text import from_text

TEXT = """g (float[2,4] x) => (float[2,3] y) <float[4,5] w, float[5,3] v> {
    [first] a = MatMul(x, w)
    [act] r = Relu(a)
    [second] y = MatMul(r, v) }"""


@pytest.fixture(scope="module")
def program() -> qc.Program:
    rng = np.random.default_rng(0)
    stored = {"w": rng.normal(size=(4, 5)), "v": rng.normal(size=(5, 3))}
    return from_text(TEXT, {name: each.astype(np.float32) for name, each in stored.items()})


@pytest.fixture(scope="module")
def feeds() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=(2, 4)).astype(np.float32)} for _ in range(8)]


def compiled(program: qc.Program, feeds: object, **given: object) -> qc.Compiled:
    return qc.compile(program, "onnxruntime", feeds, scheme="int8", recipe="fast", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x", "[x]", "x*"])
def test_a_given_range_is_the_values_range(
    program: qc.Program, feeds: list[dict[str, np.ndarray]], name: str
) -> None:
    found = compiled(program, feeds, ranges={name: (-16.0, 16.0)})
    assert found.program.placement is not None
    scale = found.program.placement.params("x").scale
    assert float(scale) == pytest.approx(32 / 255, rel=1e-6)
    plain = compiled(program, feeds).program.placement
    assert plain is not None
    assert float(plain.params("x").scale) != pytest.approx(32 / 255, rel=0.1)


@pytest.mark.parametrize("name", ["second", "op:MatMul", "sec*"])
def test_a_node_names_what_it_computes(
    program: qc.Program, feeds: list[dict[str, np.ndarray]], name: str
) -> None:
    placement = compiled(program, feeds, ranges={name: (-32.0, 32.0)}).program.placement
    assert placement is not None
    assert float(placement.params("y").scale) == pytest.approx(64 / 255, rel=1e-6)


def test_behind_a_relu_no_level_is_spent_below_zero(
    program: qc.Program, feeds: list[dict[str, np.ndarray]]
) -> None:
    placement = compiled(program, feeds, ranges={"r": (-4.0, 4.0)}).program.placement
    assert placement is not None
    params = placement.params("r")
    assert int(params.zero_point) == 0
    assert float(params.scale) == pytest.approx(4 / 255, rel=1e-5)


def test_a_range_that_clips_is_told_first(
    program: qc.Program, feeds: list[dict[str, np.ndarray]]
) -> None:
    found = qc.compile(program, "onnxruntime", feeds, scheme="int8", ranges={"x": (-0.5, 0.5)})
    warning = next(each for each in found.report.warnings if "leaves out" in each)
    assert "'x'" in warning
    share = np.mean([np.abs(feed["x"]) > 0.5 for feed in feeds])
    (clipped,) = [each for each in clippings(found.program) if each.value == "x"]
    assert clipped.elements == pytest.approx(float(share), abs=0.03)
    wide = qc.compile(program, "onnxruntime", feeds, scheme="int8", ranges={"x": (-9.0, 9.0)})
    assert not any("leave" in each and "'x'" in each for each in wide.report.warnings)


@pytest.mark.parametrize(
    ("ranges", "text"),
    [
        ({"x": (1.0, -1.0)}, "not below"),
        ({"x": (1.0, 1.0)}, "not below"),
        ({"x": (math.nan, 1.0)}, "not finite"),
        ({"x": (0.0, math.inf)}, "not finite"),
        ({"x": 3.0}, "no pair"),
        ({"x": ("a", "b")}, "no pair"),
        ({"x": (1.0, 2.0, 3.0)}, "no pair"),
        ({3: (0.0, 1.0)}, "not by 3"),
        ([("x", 0, 1)], "must map"),
        ({"seconds": (0.0, 1.0)}, "did you mean 'second'"),
        ({"w": (0.0, 1.0)}, "matches no value"),
    ],
)
def test_what_is_no_range_is_refused(
    program: qc.Program, feeds: list[dict[str, np.ndarray]], ranges: object, text: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compiled(program, feeds, ranges=ranges)
    assert text in str(caught.value)


def test_ranges_without_calibration_are_refused(program: qc.Program) -> None:
    with pytest.raises(ConfigurationError, match="calibrated ranges"):
        qc.compile(program, "onnxruntime", scheme="dynamic", ranges={"x": (-1.0, 1.0)})
