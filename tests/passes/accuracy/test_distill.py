"""`distill`: what a placed network gives comes nearer to float, on samples it did not see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from qcompiler.decisions.binding import decided
from qcompiler.errors import ConfigurationError
from qcompiler.execution.session import OrtSession
from qcompiler.ir.program import Program
from qcompiler.lowering.torch_fx.tuning import TunedWeight, float_module, tuned_module
from qcompiler.lowering.torch_fx.tuning_fit import Pupil, TuningFit, blend, tune
from qcompiler.passes.accuracy import torch_needed
from qcompiler.passes.accuracy.distill import Distill
from qcompiler.pipeline.registry import find_target

Array = npt.NDArray[Any]
Feeds = list[dict[str, Array]]
Placer = Callable[[Mapping[str, str]], Program]
Changer = Callable[..., Mapping[str, Any]]
Writer = Callable[[Program], Program]
Drawer = Callable[[int, int], Feeds]
PRODUCTS = ("first", "deep", "last")
QUICK = "distill{steps=40}"


def noise(program: Program, placed: Program, feeds: Feeds) -> float:
    """Summed square error of the written program on ONNX Runtime."""
    plain, engine = OrtSession(program.model), find_target("onnxruntime")().lower(placed)
    return sum(float(np.sum((engine.run(f)[0] - plain.run(f)[0]) ** 2)) for f in feeds)


def test_outputs_come_nearer_on_samples_that_it_did_not_see(
    placed: Placer, changed: Changer, written: Writer, program: Program, feeds: Feeds, drawn: Drawer
) -> None:
    found = placed(dict.fromkeys(PRODUCTS, "int4"))
    before = noise(program, written(found), feeds)
    told = changed(found, "distill{steps=60,rate=0.01,gain_rate=0.004}", samples=drawn(9, 24))
    assert told["weights"] == 3
    assert told["after"] < told["before"]
    assert noise(program, written(found), feeds) < 0.8 * before


def test_what_torch_computes_is_what_the_engine_does(
    placed: Placer, changed: Changer, written: Writer, program: Program, feeds: Feeds
) -> None:
    """The loss that is told, and the noise of the written program, which torch did not run."""
    found = placed(dict.fromkeys(PRODUCTS, "int4"))
    told = changed(found, QUICK)
    plain, engine = OrtSession(program.model), find_target("onnxruntime")().lower(written(found))
    ratios = []
    for feed in feeds:
        wanted = plain.run(feed)[0].astype(np.float64)
        ratios.append(float(np.sum((engine.run(feed)[0] - wanted) ** 2) / np.sum(wanted**2)))
    # An output may lie on the next step, where torch and the engine add in another order.
    assert np.mean(ratios) == pytest.approx(told["after"], rel=0.1)


def test_it_is_the_same_each_time(placed: Placer, changed: Changer) -> None:
    integers = []
    for _ in range(2):
        found = placed(dict.fromkeys(PRODUCTS, "int4"))
        changed(found, QUICK)
        regions = [decided(found).regions[key] for key in PRODUCTS]
        integers.append([r.rounding.integers for r in regions if r.rounding is not None])
        integers[-1] += [r.bias_rounding.integers for r in regions if r.bias_rounding is not None]
    for one, two in zip(*integers, strict=True):
        np.testing.assert_array_equal(one, two)


def test_samples_of_numbers_are_blended() -> None:
    one, other = torch.full((2, 3), 4.0), torch.full((2, 3), 8.0)
    (found,) = blend((one,), (other,), 0.25)
    torch.testing.assert_close(found, torch.full((2, 3), 7.0))
    for wrong in (other.long(), torch.zeros(3, 3)):  # words, and another length
        assert blend((one, wrong), (other, other), 0.25)[0] is one
        assert blend((wrong,), (other,), 0.25)[0] is wrong


def test_blended_samples_are_drawn_the_same_each_time(placed: Placer, changed: Changer) -> None:
    told = [
        changed(placed(dict.fromkeys(PRODUCTS, "int4")), f"distill{{steps=12,blended={part}}}")
        for part in (1.0, 1.0, 0.0)
    ]
    assert told[0] == told[1] != told[2]


def test_what_did_not_help_leaves_everything(placed: Placer, changed: Changer) -> None:
    found = placed(dict.fromkeys(PRODUCTS, "int4"))
    before = decided(found)
    told = changed(found, "distill{seconds=0.0}")
    assert told["after"] == told["before"]
    assert all(decided(found).regions[key] is before.regions[key] for key in PRODUCTS)


def test_nothing_is_done_without_samples(placed: Placer, changed: Changer) -> None:
    found = placed(dict.fromkeys(PRODUCTS, "int4"))
    assert changed(found, QUICK, samples=()) == {"weights": 0}


def test_an_int32_bias_stays_in_steps_of_its_weight(placed: Placer, changed: Changer) -> None:
    found = placed(dict.fromkeys(PRODUCTS, "int4"))
    changed(found, "distill{steps=40,gain_rate=0.01}")
    for key in PRODUCTS:
        region = decided(found).regions[key]
        assert region.rounding is not None
        assert region.bias_rounding is not None
        read = region.activations[0].params
        assert read is not None
        wanted = read.scale * region.rounding.params.scale
        np.testing.assert_array_equal(region.bias_rounding.scale, wanted)


def test_a_sample_that_takes_too_much_memory_is_refused(placed: Placer, feeds: Feeds) -> None:
    found = placed(dict.fromkeys(PRODUCTS, "int4"))
    region = decided(found).regions["first"]
    assert region.weight is not None
    assert region.rounding is not None
    weight = TunedWeight(np.ones((8, 4, 3, 3), np.float32), region.rounding)
    given = {(region.weight.node, region.weight.index): weight}
    module = tuned_module(found, decided(found), given)
    pupil = Pupil(module, float_module(found, ()), [weight], 1)
    samples = [(torch.from_numpy(feed["x"]),) for feed in feeds]
    with pytest.raises(ConfigurationError, match="more than 0 MiB"):
        tune(pupil, samples, TuningFit(2, 1, 0.01, 0.01, bytes=1000))


def test_without_torch_it_says_what_it_needs(
    placed: Placer, changed: Changer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_needed, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="needs torch"):
        changed(placed(dict.fromkeys(PRODUCTS, "int4")), QUICK)


def test_options_that_tune_nothing_are_refused() -> None:
    for options in (
        {"steps": 0},
        {"batch": 0},
        {"rate": 0.0},
        {"gain_rate": -1.0},
        {"blended": 1.5},
    ):
        with pytest.raises(ConfigurationError, match="tune nothing"):
            Distill(**options)
