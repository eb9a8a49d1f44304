"""After `correct-bias` no channel is off on average; checked with convolutions done in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from qcompiler.decisions.forms import region_options
from qcompiler.decisions.resolve import resolve
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.program import Program, Property
from qcompiler.ir.text import from_text
from qcompiler.ir.verifier import verify
from qcompiler.ir.walk import constant, is_op
from qcompiler.measurement.candidates import Workshop
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.placing import place
from qcompiler.measurement.variants import Variant
from qcompiler.passes.accuracy.correct_bias import CorrectBias
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.pipeline.registry import find_target

Array = npt.NDArray[Any]

_TEXT = """g (float[2,3,8,8] x) => (float[2,5,1,1] y)
    <float[8,3,3,3] w, float[8] b, float[5,8,1,1] v, float[5] c> {
    [first] a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w, b)
    [act] r = Relu(a)
    [second] d = Conv<kernel_shape=[1,1]>(r, v, c)
    [pool] y = GlobalAveragePool(d) }"""


def _weights() -> dict[str, Array]:
    """Weights whose rounding errors do not cancel: few of a channel are large."""
    rng = np.random.default_rng(3)
    w = rng.uniform(0.004, 0.007, (8, 3, 3, 3))
    w[:, 0, 1, 1] = 1.0
    found = {"w": w, "b": rng.normal(size=8), "v": rng.normal(size=(5, 8, 1, 1)), "c": np.zeros(5)}
    return {name: array.astype(np.float32) for name, array in found.items()}


def _feeds() -> list[dict[str, Array]]:
    rng = np.random.default_rng(4)
    return [{"x": rng.uniform(0, 1, (2, 3, 8, 8)).astype(np.float32)} for _ in range(6)]


@pytest.fixture
def program() -> Program:
    """The network, calibrated on the samples."""
    found = from_text(_TEXT, _weights())
    context = PassContext(target=find_target("onnxruntime")(), feeds=_feeds())
    Pipeline.parse("canonicalize,insert-observers{method=minmax},calibrate").run(found, context)
    return found


def _plan(program: Program, quantized: tuple[str, ...]) -> Plan:
    keys = [region.key for region in find_target("onnxruntime")().regions(program)]
    choices = {key: Choice("int8" if key in quantized else FLOAT) for key in keys}
    return Plan("onnxruntime", choices)


def _placed(
    program: Program, quantized: tuple[str, ...], samples: Sequence[dict[str, Array]] = ()
) -> tuple[Program, dict[str, Any]]:
    """The written program, biases corrected on the samples, and what the pass reported."""
    target = find_target("onnxruntime")()
    options = region_options(program, target, target.regions(program))
    plan = _plan(program, quantized)
    variants = [Variant("correct-bias")]
    placed, report = place(program, target, options, plan, variants, samples)
    assert [str(finding) for finding in verify(placed)] == []
    return placed, report.details("correct-bias")


def _node(program: Program, name: str) -> ir.Node:
    return next(node for node in program.graph if node.name == name)


def _integers(node: ir.Node, index: int) -> tuple[Array, Array, Array]:
    """What the DequantizeLinear at an operand reads: numbers, scale, zero point."""
    operand = node.inputs[index]
    assert operand is not None
    source = operand.producer()
    assert is_op(source, "DequantizeLinear")
    assert source is not None
    parts = [constant(each) for each in source.inputs]
    numbers, scale, zero = (np.zeros(0) if part is None else part for part in parts)
    return numbers, scale, zero


def _padded_sums(x: Array, w: Array) -> Array:
    """3 x 3 convolution with a border of zeros, in float64."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.asarray(np.einsum("nchwij,ocij->nohw", windows, w.astype(np.float64)))


def _mean_error(conv: ir.Node) -> tuple[Array, Array]:
    """Mean of integer minus float result per channel over the samples, and the bias step."""
    _, x_scale, x_zero = _integers(conv, 0)
    w, w_scale, w_zero = _integers(conv, 1)
    bias, step, _ = _integers(conv, 2)
    weights = _weights()
    scaled = (w.astype(np.float64) - w_zero.reshape(-1, 1, 1, 1)) * w_scale.reshape(-1, 1, 1, 1)
    errors = []
    for feed in _feeds():
        steps = np.rint(feed["x"] / np.float32(x_scale)) + float(x_zero)
        real = (np.clip(steps, 0, 255) - float(x_zero)) * np.float64(x_scale)
        errors.append(_padded_sums(real, scaled) - _padded_sums(feed["x"], weights["w"]))
    mean = np.mean(errors, axis=(0, 1, 3, 4))
    return mean + bias * step.astype(np.float64) - weights["b"], step


def test_the_mean_error_of_every_channel_is_gone(program: Program) -> None:
    placed, _ = _placed(program, ("first",))
    before, step = _mean_error(_node(placed, "first"))
    assert np.abs(before).max() > 10 * step.max()  # or there is nothing to test
    placed, details = _placed(program, ("first",), _feeds())
    assert details == {"biases": 1}
    after, step = _mean_error(_node(placed, "first"))
    # Half a step of the int32 bias and half a step of its correction, and sums of 27 products in
    # float32 of values below 4.
    assert np.all(np.abs(after) <= step + 4 * 27 * 2.0**-24)


def test_nothing_else_is_touched(program: Program) -> None:
    plain, _ = _placed(program, ("first",))
    corrected, _ = _placed(program, ("first",), _feeds())
    assert [node.op_type for node in corrected.graph] == [node.op_type for node in plain.graph]
    pairs = zip(plain.graph.initializers.items(), corrected.graph.initializers.items(), strict=True)
    changed = {
        name
        for (name, old), (other, new) in pairs
        if name != other or not np.array_equal(_array(old), _array(new))
    }
    assert changed == {"b_quantized"}


def _array(value: ir.Value) -> Array:
    found = constant(value)
    assert found is not None
    return found


def test_a_float_program_has_nothing_to_correct(program: Program) -> None:
    assert _placed(program, (), _feeds())[1] == {"biases": 0}


def test_the_float_program_stays(program: Program) -> None:
    before = [node.op_type for node in program.graph], list(program.graph.initializers)
    _placed(program, ("first", "second"), _feeds())
    assert ([node.op_type for node in program.graph], list(program.graph.initializers)) == before


def test_no_samples_no_correction(program: Program) -> None:
    assert _placed(program, ("first",))[1] == {"biases": 0}


def test_a_bias_that_would_leave_int32_stays(program: Program) -> None:
    target = find_target("onnxruntime")()
    options = region_options(program, target, target.regions(program))
    copy = program.clone()
    copy.placement = resolve(program.observations, options, _plan(program, ("first",)))
    region = copy.placement.regions["first"]
    assert region.bias_rounding is not None
    huge = replace(region.bias_rounding, integers=np.full(8, 2**30, np.int32))
    copy.placement = copy.placement.with_regions({"first": replace(region, bias_rounding=huge)})
    copy.properties |= {Property.PRECISION_ASSIGNED, Property.RESOLVED}
    CorrectBias().run(copy, PassContext(target, samples=_feeds()))
    found = copy.placement.regions["first"].bias_rounding
    assert found is not None
    assert np.all(found.integers <= 2**30)


def test_a_float_bias_is_corrected_too(program: Program) -> None:
    """TensorRT's form keeps biases in float."""
    target = find_target("tensorrt")()
    options = region_options(program, target, target.regions(program))
    key, form = next(
        (each.region.key, each.implementations[0].precision)
        for each in options
        if each.region.bias is not None and each.implementations
    )
    plan = Plan("tensorrt", {key: Choice(form)})
    placed, report = place(program, target, options, plan, [Variant("correct-bias")], _feeds())
    assert report.details("correct-bias") == {"biases": 1}
    node = _node(placed, key)
    assert node.inputs[2] is not None
    assert (node.inputs[2].name or "").endswith("_corrected")


def _workshop(program: Program, *variants: str) -> Workshop:
    target = find_target("onnxruntime")()
    judge = Judge(_feeds(), target.lower(from_text(_TEXT, _weights())).run)
    options = region_options(program, target, target.regions(program), {})
    return Workshop(program, target, options, judge, variants=[Variant(v) for v in variants])


def test_a_workshop_keeps_the_better_one(program: Program) -> None:
    workshop = _workshop(program, "correct-bias")
    plan = workshop.plan({"first": "int8", "second": "int8"})
    candidate = workshop.measured(plan, _feeds()[:1])
    assert candidate is not None
    refined = workshop.refined(candidate)
    assert workshop.refined(candidate) is workshop.refined(refined) is workshop.known(candidate)
    assert workshop.measured(plan, _feeds()[:1]) is candidate  # both are kept, each under its key
    assert [each.text for each in refined.variants] == ["correct-bias"]
    assert refined.loss is not None
    assert candidate.loss is not None
    assert refined.loss < 0.5 * candidate.loss
    assert (refined.seconds, refined.sample) == (candidate.seconds, candidate.sample)


def test_without_variants_a_candidate_is_its_own_best(program: Program) -> None:
    workshop = _workshop(program)
    candidate = workshop.measured(workshop.plan({"first": "int8"}), _feeds()[:1])
    assert candidate is not None
    assert workshop.refined(candidate) is candidate
