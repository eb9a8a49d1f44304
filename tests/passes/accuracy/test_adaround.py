"""`adaround` and the cascade of `correct-bias`: what blocks give comes nearer to float."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from qcompiler.decisions.placement import RegionPlacement
from qcompiler.errors import ConfigurationError
from qcompiler.execution.session import OrtSession
from qcompiler.ir.program import Program
from qcompiler.ir.walk import stored_array
from qcompiler.passes.accuracy import torch_needed
from qcompiler.passes.accuracy.adaround import AdaRound
from qcompiler.pipeline.registry import find_target
from qcompiler.quantization.numerics import expand

Array = npt.NDArray[Any]
Feeds = list[dict[str, Array]]
Placer = Callable[[Mapping[str, str]], Program]
Changer = Callable[..., Mapping[str, Any]]
Writer = Callable[[Program], Program]
PRODUCTS = ("first", "deep", "last")
QUICK = "adaround{steps=60}"


def region(program: Program, key: str) -> RegionPlacement:
    assert program.placement is not None
    return program.placement.regions[key]


def steps(program: Program, key: str) -> Array:
    """The float weight in steps of its scale, zero point added."""
    node = next(each for each in program.graph if each.name == key)
    assert node.inputs[1] is not None
    exact, rounding = stored_array(node.inputs[1]), region(program, key).rounding
    assert exact is not None
    assert rounding is not None
    params = rounding.params
    return np.asarray(
        exact / expand(params.scale, exact.shape, params)
        + expand(params.zero_point, exact.shape, params)
    )


def noise(program: Program, placed: Program, feeds: Feeds) -> float:
    """Summed square error of the written program on ONNX Runtime."""
    plain, engine = OrtSession(program.model), find_target("onnxruntime")().lower(placed)
    return sum(float(np.sum((engine.run(f)[0] - plain.run(f)[0]) ** 2)) for f in feeds)


@pytest.mark.parametrize("weights", [1, 3])
def test_weights_go_up_or_down_and_the_output_comes_nearer(
    weights: int, placed: Placer, changed: Changer, written: Writer, program: Program, feeds: Feeds
) -> None:
    found = placed(dict.fromkeys(PRODUCTS, "int4"))
    before = noise(program, written(found), feeds)
    told = changed(found, f"adaround{{steps=100,weights={weights}}}")
    assert told["weights"] > 0
    assert told["out of time"] == 0
    assert noise(program, written(found), feeds) < 0.7 * before
    for key in PRODUCTS:
        rounding = region(found, key).rounding
        assert rounding is not None
        exact = steps(found, key)
        ends = rounding.params.space.qmin, rounding.params.space.qmax
        integers = rounding.integers.astype(np.int64)
        low, high = np.clip(np.floor(exact), *ends), np.clip(np.ceil(exact), *ends)
        assert np.all((integers == low) | (integers == high))


def test_it_is_the_same_each_time_and_another_with_another_seed(
    placed: Placer, changed: Changer
) -> None:
    integers = []
    for text in (QUICK, QUICK, "adaround{steps=60,seed=1}"):
        found = placed(dict.fromkeys(PRODUCTS, "int4"))
        changed(found, text)
        roundings = [region(found, key).rounding for key in PRODUCTS]
        integers.append(
            np.concatenate([r.integers.astype(int).ravel() for r in roundings if r is not None])
        )
    np.testing.assert_array_equal(integers[0], integers[1])
    assert not np.array_equal(integers[0], integers[2])


def test_blocks_that_are_out_of_time_keep_their_integers(placed: Placer, changed: Changer) -> None:
    found = placed(dict.fromkeys(PRODUCTS, "int4"))
    told = changed(found, "adaround{seconds=0.0,weights=1}")
    assert told["weights"] == 0
    assert told["out of time"] > 0


def test_integers_of_gptq_are_where_it_starts(
    placed: Placer, changed: Changer, written: Writer, program: Program, feeds: Feeds
) -> None:
    found = placed(dict.fromkeys(PRODUCTS, "int4"))
    changed(found, "gptq")
    before = noise(program, written(found), feeds)
    changed(found, "adaround{steps=1,rate=1e-6}")
    assert noise(program, written(found), feeds) <= before * (1 + 1e-6)


@pytest.mark.parametrize("precision", ["int4-weights-b16", "int2-weights", "int8-dynamic"])
def test_blocks_of_a_weight_and_what_has_no_grid(
    precision: str, placed: Placer, changed: Changer
) -> None:
    found = placed({"last": precision, "first": "float32", "deep": "float32"})
    told = changed(found, QUICK)
    assert told["weights"] == (0 if precision == "int8-dynamic" else 1)


def test_nothing_is_done_without_samples(placed: Placer, changed: Changer) -> None:
    found = placed(dict.fromkeys(PRODUCTS, "int4"))
    assert changed(found, QUICK, samples=()) == {"weights": 0}


@pytest.mark.parametrize("text", [QUICK, "correct-bias{cascade=true}"])
def test_without_torch_it_says_what_it_needs(
    text: str, placed: Placer, changed: Changer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_needed, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="needs torch"):
        changed(placed(dict.fromkeys(PRODUCTS, "int4")), text)


def test_options_that_fit_nothing_are_refused() -> None:
    for options in ({"steps": 0}, {"batch": 0}, {"drop": 1.0}):
        with pytest.raises(ConfigurationError, match="fit nothing"):
            AdaRound(**options)


def mean_output_error(program: Program, placed: Program, feeds: Feeds) -> Array:
    """Mean error of every output channel, through the whole quantized network."""
    plain, engine = OrtSession(program.model), find_target("onnxruntime")().lower(placed)
    gaps = [engine.run(f)[0].astype(np.float64) - plain.run(f)[0] for f in feeds]
    return np.asarray(np.mean(gaps, axis=(0, 1)))


def test_a_cascade_corrects_what_earlier_layers_leave(
    placed: Placer, changed: Changer, written: Writer, program: Program, feeds: Feeds
) -> None:
    """The last layer's own mean error, on float inputs, says nothing of what reaches it."""
    errors = []
    for text in ("correct-bias", "correct-bias{cascade=true}"):
        found = placed(dict.fromkeys(PRODUCTS, "int4"))
        assert changed(found, text) == {"biases": 3}
        errors.append(np.abs(mean_output_error(program, written(found), feeds)).max())
    last = region(found, "last")
    assert last.written is not None
    step = float(last.written.scale)
    assert errors[1] < 0.3 * step  # the mean of 12 outputs that are each rounded to a step
    assert errors[1] < 0.3 * errors[0]
