"""Overrides: what they say about themselves, and what they do to a placement."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import qcompiler as qc
from qcompiler.decisions.overrides import Override, by_hand, override_of
from qcompiler.errors import ConfigurationError

Feeds = list[dict[str, Any]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "fixes nothing"),
        ({"bits": 5}, "bits are 5"),
        ({"bits": 4, "precision": "int8"}, "no precision"),
        ({"bits": [4]}, "bits are"),
        ({"bits": 8.0}, "bits are"),
        ({"observer": "mode"}, "mode"),
        ({"observer": ["mse"]}, "no calibration method"),
        ({"scale": 0.1, "dtype": {"uint8": 1}}, "dtype is"),
        ({"scale": -1.0}, "no positive number"),
        ({"scale": float("nan")}, "no positive number"),
        ({"zero_point": 3}, "without a scale"),
        ({"scale": 0.1, "zero_point": 300}, "no uint8"),
        ({"scale": 0.1, "zero_point": -129}, "no int8"),
        ({"scale": 0.1, "range": (0.0, 1.0)}, "leaves no choice"),
        ({"range": (1.0, 0.0)}, "empty"),
    ],
)
def test_overrides_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Override(**given)


def test_a_table_of_a_file_is_an_override() -> None:
    assert override_of({"range": [0, 2.0]}, "x").range == (0, 2.0)
    with pytest.raises(ConfigurationError, match="did you mean 'observer'") as caught:
        override_of({"oberver": "mse"}, "overrides of 'head'")
    assert "overrides of 'head'" in str(caught.value)


def test_overrides_are_taken_apart_by_what_they_are_about() -> None:
    found = by_hand({"a": "int8", "b": Override(bits=4, observer="mse")}, {"c": (0, 1)})
    assert found.precisions == {"a": "int8", "b": "4-bit"}
    assert found.observers == {"b": "mse"}
    assert found.ranges == {"c": (0.0, 1.0)}
    with pytest.raises(ConfigurationError, match="overrides must map"):
        by_hand({"a": 3})


def _compiled(model: onnx.ModelProto, feeds: Feeds, **given: Any) -> Any:
    return qc.compile(model, calibration=feeds, scheme="int8", recipe="fast", **given)


@pytest.mark.parametrize("zero", [0, 20, -100])
def test_a_fixed_scale_is_the_one_that_runs(
    digits_onnx: onnx.ModelProto, digits_feeds: Feeds, zero: int
) -> None:
    name = digits_onnx.graph.output[0].name
    rule = Override(scale=0.25, zero_point=zero)
    compiled = _compiled(digits_onnx, digits_feeds[:2], overrides={name: rule})
    params = compiled.program.placement.params(name)
    assert float(params.scale) == 0.25
    assert int(params.zero_point) - params.space.qmin == zero + (128 if zero < 0 else 0)
    outputs = compiled.run(digits_feeds[0])[0]
    np.testing.assert_allclose(outputs / 0.25, np.rint(outputs / 0.25), atol=1e-4)
    free = _compiled(digits_onnx, digits_feeds[:2])
    assert float(free.program.placement.params(name).scale) != 0.25
    assert not any("quantized source" in str(each) for each in compiled.report.diagnostics)


def test_bits_go_by_pattern_and_kernels_come_before_simulation(
    digits_onnx: onnx.ModelProto, digits_feeds: Feeds
) -> None:
    compiled = _compiled(digits_onnx, digits_feeds[:2], overrides={"op:Gemm": Override(bits=4)})
    forms = [each.form for each in compiled.program.placement.regions.values() if each.form.weight]
    assert [form.precision for form in forms if form.weight.used_bits == 4] == ["int4-weights"]
    assert [form.precision for form in forms if form.weight.used_bits == 8] == ["int8"] * 11


def test_a_range_goes_by_pattern(digits_onnx: onnx.ModelProto, digits_feeds: Feeds) -> None:
    name = digits_onnx.graph.output[0].name
    rule = {"op:Gemm": Override(range=(-30.0, 30.0))}
    compiled = _compiled(digits_onnx, digits_feeds[:2], overrides=rule)
    params = compiled.program.placement.params(name)
    assert float(params.scale) == pytest.approx(60 / 255, rel=1e-6)


def test_an_observer_by_pattern_reads_the_histogram_otherwise(
    digits_onnx: onnx.ModelProto, digits_feeds: Feeds
) -> None:
    given: dict[str, Any] = {"calibration": digits_feeds, "recipe": "fast"}
    scheme = qc.Scheme("int8", observer="minmax")
    plain = qc.compile(digits_onnx, scheme=qc.Scheme("int8", observer="mse"), **given)
    name = digits_onnx.graph.output[0].name
    rule = {name: Override(observer="minmax")}
    changed = qc.compile(
        digits_onnx, scheme=qc.Scheme("int8", observer="mse"), overrides=rule, **given
    )
    largest = qc.compile(digits_onnx, scheme=scheme, **given)
    placements: list[Any] = [c.program.placement for c in (plain, changed, largest)]
    scales = [float(each.params(name).scale) for each in placements]
    assert scales[1] == scales[2]
    others: list[Any] = [c.program.placement for c in (plain, changed)]
    first, second = (each.values for each in others)
    same = [k for k in first if float(first[k].scale) == float(second[k].scale)]
    assert len(same) >= len(first) - 2


@pytest.mark.parametrize("rule", ["int8", Override(range=(0.0, 1.0)), Override(scale=0.5)])
def test_a_pattern_that_matches_nothing_is_an_error(
    digits_onnx: onnx.ModelProto, digits_feeds: Feeds, rule: Any
) -> None:
    with pytest.raises(ConfigurationError, match="matches no"):
        _compiled(digits_onnx, digits_feeds[:1], overrides={"op:Gem": rule})
