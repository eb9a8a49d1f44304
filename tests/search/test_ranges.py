"""The calibration method is chosen by what the engine loses, not by name."""

from __future__ import annotations

import numpy as np
import pytest

from qcompiler.backends.onnxruntime.target import OnnxRuntime
from qcompiler.decisions.forms import region_options
from qcompiler.decisions.options import Options
from qcompiler.decisions.schemes import SCHEMES
from qcompiler.errors import ConfigurationError
from qcompiler.ir.plan import Choice, Plan
from qcompiler.ir.program import Program
from qcompiler.ir.text import from_text
from qcompiler.measurement.candidates import Workshop
from qcompiler.measurement.judge import Judge
from qcompiler.measurement.placing import place
from qcompiler.measurement.variants import Variant
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.quantization.observers import make_observer, reinterpreted
from qcompiler.quantization.qspace import U8_AFFINE
from qcompiler.search.base import Base
from qcompiler.search.base_choice import chosen_base
from qcompiler.search.goal import Goal, Samples

TEXT = """g (float[N,4,8,8] x) => (float[N,4,8,8] y) <float[4,4,1,1] w>
{ [product] y = Conv(x, w) }"""
TARGET = OnnxRuntime(threads=1)
PLAN = Plan("onnxruntime", {"product": Choice("int8")})


def calibrated(method: str, feeds: list[dict[str, np.ndarray]]) -> Program:
    program = from_text(TEXT)
    steps = Pipeline.parse(f"canonicalize,insert-observers{{method={method}}},calibrate")
    steps.run(program, PassContext(TARGET, feeds))
    return program


def options(program: Program) -> list[Options]:
    return region_options(program, TARGET, TARGET.regions(program))


def feeds(outlier: float) -> list[dict[str, np.ndarray]]:
    """Normal values, with one element of this size in each sample."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(4):
        x = rng.standard_normal((1, 4, 8, 8)).astype(np.float32)
        x[0, 0, 0, 0] = outlier
        found.append({"x": x})
    return found


@pytest.mark.parametrize("outlier", [1.0, 30.0])
def test_the_method_that_loses_least_is_taken(outlier: float) -> None:
    samples = feeds(outlier)
    program = calibrated("mse", samples)
    judge = Judge(samples, TARGET.lower(from_text(TEXT)).run)
    losses = {}
    for method in ("mse", "minmax"):
        variant = program.clone()
        variant.observations = {
            name: reinterpreted(seen, method) for name, seen in program.observations.items()
        }
        losses[method] = loss(variant, judge)
    goal = Goal(SCHEMES["auto"], variants=(Variant("use-ranges{method=minmax}"),))
    kept = Samples(tuple(samples), len(samples), tuple(samples))
    base = chosen_base(Base(Workshop(program, TARGET, options(program), judge)), kept, goal)
    (tried,) = base.tried
    assert (tried.before, tried.after) == (losses["mse"], losses["minmax"])
    assert tried.kept == bool(base.variants) == (losses["minmax"] < losses["mse"])
    best = "minmax" if tried.kept else "mse"
    for name, seen in base.program.observations.items():
        wanted = reinterpreted(program.observations[name], best).range_for(U8_AFFINE)
        assert seen.range_for(U8_AFFINE) == wanted
    assert program.observations["x"].name == "mse"  # the program given is left alone


def loss(program: Program, judge: Judge) -> float:
    placed, _ = place(program, TARGET, options(program), PLAN)
    return judge.loss(TARGET.lower(placed).run)


def test_statistics_of_one_method_only_stay_as_they_are() -> None:
    samples = feeds(1.0)
    program = calibrated("minmax", samples)
    before = dict(program.observations)
    report = Pipeline.parse("use-ranges{method=mse}").run(program, PassContext(TARGET))
    assert report.details("use-ranges") == {"values": 0}
    assert program.observations == before


def test_another_reading_equals_calibrating_with_it() -> None:
    data = np.random.default_rng(1).standard_normal(5000).astype(np.float32)
    for name in ("minmax", "percentile", "entropy"):
        direct = make_observer(name).update(data).range_for(U8_AFFINE)
        read = reinterpreted(make_observer("mse").update(data), name).range_for(U8_AFFINE)
        assert read == direct
    with pytest.raises(ConfigurationError, match="cannot be read"):
        reinterpreted(make_observer("minmax").update(data), "mse")
