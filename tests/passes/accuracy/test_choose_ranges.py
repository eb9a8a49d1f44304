"""`choose-ranges` beats every single method where values want different ones."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.decisions.resolve import resolve
from qcompiler.execution.session import OrtSession
from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.placing import place
from qcompiler.measurement.range_model import SCALES, ZEROS, range_model, scales_and_zeros
from qcompiler.measurement.scored import scored_program, stressed, unclipped
from qcompiler.measurement.variants import Variant, with_base
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.pipeline.targets import target_of
from qcompiler.quantization.chosen import given, histogram_of
from qcompiler.quantization.qspace import U8_AFFINE

TEXT = """g (float[N,2,16,16] x) => (float[N,4,16,16] y)
    <float[2,2,1,1] w, float[4,2,1,1] v> {
    [first] a = Conv<kernel_shape=[1,1]>(x, w)
    [second] y = Conv<kernel_shape=[1,1]>(a, v) }"""
TARGET = target_of("onnxruntime{threads=1}")


def weights() -> dict[str, np.ndarray]:
    """Channel 1 of x weighs nothing in the end; channel 1 of a, whose extremes are rare, all."""
    w = np.asarray([[1.0, 1e-5], [0.02, 1e-5]], np.float32)
    v = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32) * [1e-3, 1.0]
    return {"w": w.reshape(2, 2, 1, 1), "v": v.reshape(4, 2, 1, 1).astype(np.float32)}


def feeds(seed: int, count: int = 12) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        x = rng.normal(size=(1, 2, 16, 16)).astype(np.float32)
        x[0, 1, rng.integers(16), rng.integers(16)] = 60.0  # matters to nobody
        found.append({"x": x})
    return found


def float_program() -> Program:
    return from_text(TEXT, weights())


def calibrated(samples: list[dict[str, np.ndarray]]) -> Program:
    program = float_program()
    steps = Pipeline.parse("canonicalize,insert-observers{method=mse},calibrate")
    steps.run(program, PassContext(TARGET, samples))
    return program


def options(program: Program) -> list[Options]:
    return region_options(program, TARGET, TARGET.regions(program))


def plan(program: Program) -> Plan:
    keys = [each.region.key for each in options(program)]
    return Plan("onnxruntime", {key: Choice("int8") for key in keys})


def loss(program: Program, judge: Judge) -> float:
    placed, _ = place(program, TARGET, options(program), plan(program))
    return judge.loss(TARGET.lower(placed).run)


def test_every_value_gets_the_method_that_suits_the_outputs() -> None:
    program, unseen = calibrated(feeds(1)), feeds(2, 40)
    judge = Judge(unseen, TARGET.lower(float_program()).run)
    single = {}
    for method in ("minmax", "mse", "entropy", "percentile", "moving-average"):
        variant = Variant(f"use-ranges{{method={method}}}")
        single[method] = loss(with_base(program, TARGET, variant, feeds(1)), judge)
    chosen = with_base(program, TARGET, Variant("choose-ranges"), feeds(1))
    found = loss(chosen, judge)
    assert found < 1.05 * min(single.values())
    assert found < 0.7 * single["minmax"]
    assert loss(program, judge) == single["mse"]  # the program given is left alone


def test_the_model_of_ranges_loses_what_the_engine_loses() -> None:
    program, samples = calibrated(feeds(1)), feeds(3, 8)
    judge = Judge(samples, TARGET.lower(float_program()).run)
    placement = resolve(program.observations, options(program), plan(program))
    model = range_model(program, placement)
    session = OrtSession(model.packed)

    def run(values: object) -> float:
        parameters = model.parameters(placement.values)
        scales, zeros = scales_and_zeros(parameters)
        if values == "coarse":
            scales = scales * np.float32(4)
        extra = {SCALES: scales, ZEROS: zeros}
        return judge.loss(lambda feed: session.run({**feed, **extra}))

    assert run("own") == pytest.approx(loss(program, judge), rel=0.05)
    assert run("coarse") > 4 * run("own")


def test_users_ranges_and_values_without_samples_stay() -> None:
    program = calibrated(feeds(1))
    program.observations["x"] = given(program.observations["x"], -3.0, 3.0)
    chosen = with_base(program, TARGET, Variant("choose-ranges"), feeds(1))
    assert chosen.observations["x"] is program.observations["x"]
    report = Pipeline.parse("choose-ranges").run(program, PassContext(TARGET))
    assert report.details("choose-ranges") == {"values": 0}


def test_outputs_and_logits_are_never_clipped() -> None:
    text = TEXT.replace("=> (float[N,4,16,16] y)", "=> (float[N,4,16,16] p)")
    text = text.replace("(a, v) }", "(a, v)\n t = Reshape(y, s)\n p = Softmax<axis=1>(t) }")
    text = text.replace("float[4,2,1,1] v>", "float[4,2,1,1] v, int64[4] s>")
    stored = {**weights(), "s": np.asarray([0, 4, 16, 16], np.int64)}
    program = from_text(text, stored)
    scored = scored_program(program)
    assert [value.name for value in scored.graph.outputs] == ["t"]
    assert unclipped(scored) == {"t", "y"}
    steps = Pipeline.parse("insert-observers{method=mse},calibrate")
    steps.run(program, PassContext(TARGET, feeds(1)))
    chosen = with_base(program, TARGET, Variant("choose-ranges"), feeds(1))
    for name in ("y", "t"):
        if name in chosen.observations:
            seen = histogram_of(chosen.observations[name])
            assert seen is not None
            found = chosen.observations[name].range_for(U8_AFFINE)
            assert found.low <= seen.low
            assert found.high >= seen.high


def test_masks_are_not_stressed() -> None:
    x = np.asarray([[0.5, -1.0, 2.0]], np.float32)
    mask = np.asarray([[1.0, 0.0, 1.0]], np.float32)
    ids = np.asarray([[1, 2]], np.int64)
    (found,) = stressed([{"x": x, "mask": mask, "ids": ids}])
    np.testing.assert_array_equal(found["x"], x * np.float32(1.25))
    np.testing.assert_array_equal(found["mask"], mask)
    np.testing.assert_array_equal(found["ids"], ids)
