"""After `correct-bias` no channel is off on average; checked with convolutions done in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from qcompiler.decisions.forms import region_options
from qcompiler.errors import ConfigurationError
from qcompiler.ir.plan import FLOAT, Choice, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.ir.verifier import verify
from qcompiler.ir.walk import constant, is_op
from qcompiler.passes.accuracy.correct_bias import CorrectBias
from qcompiler.pipeline.contract import PassContext, PassReport
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.pipeline.registry import find_target
from qcompiler.search.candidates import Workshop
from qcompiler.search.loss import Judge
from qcompiler.search.placing import place

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


def _placed(program: Program, quantized: tuple[str, ...]) -> Program:
    target = find_target("onnxruntime")()
    regions = target.regions(program)
    keys = [region.key for region in regions]
    choices = {key: Choice("int8" if key in quantized else FLOAT) for key in keys}
    options = region_options(program, target, regions)
    return place(program, target, options, Plan("onnxruntime", choices))[0]


def _correct(placed: Program, reference: Program) -> PassReport:
    options = {"samples": _feeds(), "reference": reference}
    context = PassContext(target=find_target("onnxruntime")(), options=options)
    report = CorrectBias().run(placed, context)
    assert [str(finding) for finding in verify(placed)] == []
    return report


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
    placed = _placed(program, ("first",))
    before, step = _mean_error(_node(placed, "first"))
    assert np.abs(before).max() > 10 * step.max()  # or there is nothing to test
    assert _correct(placed, program).details == {"biases": 1}
    after, step = _mean_error(_node(placed, "first"))
    # Half a step of the int32 bias and half a step of its correction, and sums of 27 products in
    # float32 of values below 4.
    assert np.all(np.abs(after) <= step + 4 * 27 * 2.0**-24)


def test_nothing_else_is_touched(program: Program) -> None:
    placed = _placed(program, ("first",))
    old = {name: constant(value) for name, value in placed.graph.initializers.items()}
    bias = _node(placed, "second").inputs[2]
    ops = [node.op_type for node in placed.graph]
    _correct(placed, program)
    assert [node.op_type for node in placed.graph] == ops
    assert _node(placed, "second").inputs[2] is bias
    changed = {name for name in placed.graph.initializers if name not in old}
    assert changed == {"b_quantized_corrected"}
    for name, value in placed.graph.initializers.items():
        if name in old:
            np.testing.assert_array_equal(constant(value), old[name])


def test_a_float_program_stays(program: Program) -> None:
    assert not _correct(_placed(program, ()), program).modified


def test_the_reference_stays(program: Program) -> None:
    before = [node.op_type for node in program.graph], list(program.graph.initializers)
    _correct(_placed(program, ("first", "second")), program)
    assert ([node.op_type for node in program.graph], list(program.graph.initializers)) == before


def test_no_samples_no_correction(program: Program) -> None:
    placed = _placed(program, ("first",))
    report = CorrectBias().run(placed, PassContext(target=find_target("onnxruntime")()))
    assert not report.modified


def test_a_bias_that_would_leave_int32_stays(program: Program) -> None:
    placed = _placed(program, ("first",))
    dequantize = _node(placed, "first").inputs[2]
    assert dequantize is not None
    source = dequantize.producer()
    assert source is not None
    huge = np.full(8, 2**30, np.int32)
    numbers = source.inputs[0]
    assert numbers is not None
    numbers.const_value = ir.Tensor(huge, name=numbers.name)
    _correct(placed, program)
    corrected = _integers(_node(placed, "first"), 2)[0]
    assert np.all(corrected <= 2**30)


def test_without_the_float_program_it_says_so(program: Program) -> None:
    context = PassContext(target=find_target("onnxruntime")(), options={"samples": _feeds()})
    with pytest.raises(ConfigurationError, match="reference"):
        CorrectBias().run(_placed(program, ("first",)), context)


def _workshop(program: Program, correct: bool) -> Workshop:
    target = find_target("onnxruntime")()
    judge = Judge(_feeds(), target.lower(from_text(_TEXT, _weights())).run)
    options = region_options(program, target, target.regions(program), {})
    return Workshop(program, target, options, judge, correct_bias=correct)


def test_a_workshop_keeps_the_better_one(program: Program) -> None:
    losses: list[float] = []
    for correct in (False, True):
        workshop = _workshop(program, correct)
        plan = workshop.plan({"first": "int8", "second": "int8"})
        candidate = workshop.measured(plan, _feeds()[:1])
        assert candidate is not None
        assert workshop.measured(plan, _feeds()[:1]) is candidate
        workshop.refine(candidate)
        assert candidate.loss is not None
        losses.append(candidate.loss)
    assert losses[1] < 0.5 * losses[0]
