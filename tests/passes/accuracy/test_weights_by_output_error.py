"""`gptq` and `search-weight-scales` lower the output error of every layer, and no bias moves.

Errors are taken with convolutions and products of ONNX Runtime, not with the moments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from qcompiler.decisions.placement import RegionPlacement
from qcompiler.errors import ConfigurationError
from qcompiler.execution.session import OrtSession
from qcompiler.ir.program import Program
from qcompiler.ir.verifier import verify
from qcompiler.ir.walk import stored_array
from qcompiler.passes.accuracy.gptq import Gptq
from qcompiler.passes.accuracy.search_scales import SearchWeightScales
from qcompiler.pipeline.registry import find_target
from qcompiler.quantization.biases import BIAS_LIMIT
from qcompiler.quantization.numerics import dequantize

Array = npt.NDArray[Any]
Placer = Callable[[Mapping[str, str]], Program]
Changer = Callable[..., Mapping[str, Any]]
PRODUCTS = ("first", "deep", "last")
BOTH = ("gptq", "search-weight-scales", "gptq{ratios=3}", "gptq{act_order=false}")


def region(program: Program, key: str) -> RegionPlacement:
    assert program.placement is not None
    return program.placement.regions[key]


def output_error(program: Program, key: str, feeds: Sequence[dict[str, Array]]) -> float:
    """Summed square error of one product when only its weight is quantized."""
    node = next(each for each in program.graph if each.name == key)
    rounding, weight = region(program, key).rounding, node.inputs[1]
    assert rounding is not None
    assert weight is not None
    exact = stored_array(weight)
    assert exact is not None
    gap = dequantize(rounding.integers, rounding.params) - exact
    assert node.inputs[0] is not None
    read = node.inputs[0].name or ""
    plain = OrtSession(program.model, extra_outputs=[read])
    layer = onnx.helper.make_graph(
        [onnx.helper.make_node(node.op_type, ["x", "w"], ["y"], **attributes(node))],
        "layer",
        [onnx.helper.make_tensor_value_info(name, 1, None) for name in ("x", "w")],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
    )
    opset = onnx.helper.make_opsetid("", 21)
    model = onnx.helper.make_model(layer, ir_version=10, opset_imports=[opset])
    session = OrtSession(model.SerializeToString())
    total = 0.0
    for feed in feeds:
        x = plain.run_named(feed)[read]
        total += float(np.sum(session.run({"x": x, "w": gap})[0].astype(np.float64) ** 2))
    return total


def attributes(node: Any) -> dict[str, Any]:
    return {name: each.value for name, each in node.attributes.items()}


@pytest.mark.parametrize("text", BOTH)
@pytest.mark.parametrize("precision", ["int4", "int8"])
def test_every_layer_is_off_by_less(
    text: str, precision: str, placed: Placer, changed: Changer, feeds: list[dict[str, Array]]
) -> None:
    program = placed(dict.fromkeys(PRODUCTS, precision))
    before = {key: output_error(program, key, feeds) for key in PRODUCTS}
    ends = {key: region(program, key).bias_rounding for key in PRODUCTS}
    found = changed(program, text)
    after = {key: output_error(program, key, feeds) for key in PRODUCTS}
    assert all(after[key] <= before[key] * (1 + 1e-6) for key in PRODUCTS)
    if (text, precision) != ("search-weight-scales", "int8"):  # 8 bits leave nothing to clip here
        assert found["weights"] > 0
        assert sum(after.values()) < 0.9 * sum(before.values())
    for key in PRODUCTS:
        rounding, old = region(program, key).rounding, ends[key]
        assert rounding is not None
        assert rounding.integers.astype(int).min() >= rounding.params.space.qmin
        assert rounding.integers.astype(int).max() <= rounding.params.space.qmax
        bias = region(program, key).bias_rounding
        if old is not None:
            assert bias is not None
            read = region(program, key).activations[0].params
            assert read is not None
            np.testing.assert_array_equal(bias.scale, read.scale * rounding.params.scale)
            gap = bias.integers * np.float64(bias.scale) - old.integers * np.float64(old.scale)
            assert np.all(np.abs(gap) <= 0.5001 * bias.scale)


@pytest.mark.parametrize("text", BOTH)
def test_blocks_of_a_weight_only_product(
    text: str, placed: Placer, changed: Changer, feeds: list[dict[str, Array]]
) -> None:
    for precision in ("int4-weights-b16", "int2-weights"):
        program = placed({"last": precision, "first": "float32", "deep": "float32"})
        before = output_error(program, "last", feeds)
        assert changed(program, text) == {"weights": 1}
        assert output_error(program, "last", feeds) < before


@pytest.mark.parametrize("text", BOTH)
def test_what_is_written_is_legal_and_the_same_each_time(
    text: str, placed: Placer, changed: Changer, written: Callable[[Program], Program],
    feeds: list[dict[str, Array]],
) -> None:  # fmt: skip
    programs = [placed(dict.fromkeys(PRODUCTS, "int4")) for _ in range(2)]
    for each in programs:
        changed(each, text)
    for key in PRODUCTS:
        one, two = (region(each, key).rounding for each in programs)
        assert one is not None
        assert two is not None
        np.testing.assert_array_equal(one.integers, two.integers)
        np.testing.assert_array_equal(one.params.scale, two.params.scale)
    graph = written(programs[0])
    assert [str(finding) for finding in verify(graph)] == []
    assert np.isfinite(find_target("onnxruntime")().lower(graph).run(feeds[0])[0]).all()


@pytest.mark.parametrize("text", BOTH)
def test_nothing_is_done_without_samples_or_with_fewer_bits(
    text: str, placed: Placer, changed: Changer
) -> None:
    program = placed(dict.fromkeys(PRODUCTS, "int8"))
    assert changed(program, text, samples=()) == {"weights": 0}
    name, _, options = text.partition("{")
    narrower = f"{name}{{bits=4" + (f",{options}" if options else "}")
    assert changed(program, narrower) == {"weights": 0}


def test_only_sums_of_few_inputs_are_rounded_where_that_is_asked(
    placed: Placer, changed: Changer
) -> None:
    program = placed(dict.fromkeys(PRODUCTS, "int8"))
    before = {key: region(program, key).rounding for key in PRODUCTS}
    assert changed(program, "gptq{inputs=9}") == {"weights": 2}
    other = {key for key in PRODUCTS if region(program, key).rounding is not before[key]}
    assert other == {"deep", "last"}  # the first has four channels, 3 x 3


def test_a_scale_stays_as_large_as_its_bias_needs(placed: Placer, changed: Changer) -> None:
    program = placed(dict.fromkeys(PRODUCTS, "int4"))
    first = region(program, "first")
    assert first.bias_rounding is not None
    assert first.rounding is not None
    full = replace(first.bias_rounding, integers=np.full(8, BIAS_LIMIT, np.int32))
    assert program.placement is not None
    program.placement = program.placement.with_regions(
        {"first": replace(first, bias_rounding=full)}
    )
    changed(program, "search-weight-scales")
    after = region(program, "first")
    assert after.rounding is not None
    np.testing.assert_array_equal(after.rounding.params.scale, first.rounding.params.scale)


def test_options_that_make_no_grid_are_refused() -> None:
    for made in (
        lambda: Gptq(damping=-1.0),
        lambda: Gptq(ratios=0),
        lambda: SearchWeightScales(steps=0),
        lambda: SearchWeightScales(lowest=1.5),
    ):
        with pytest.raises(ConfigurationError):
            made()


@pytest.mark.parametrize("precision", ["int4", "int4-weights-b16"])
def test_fitted_scales_save_more_than_integers_alone(
    precision: str, placed: Placer, changed: Changer, feeds: list[dict[str, Array]]
) -> None:
    other = {} if precision == "int4" else {"first": "float32", "deep": "float32"}
    keys = PRODUCTS if precision == "int4" else ("last",)
    errors = []
    for text in ("gptq{ratios=3,fit=false}", "gptq{ratios=3}"):
        program = placed({**dict.fromkeys(keys, precision), **other})
        changed(program, text)
        errors.append([output_error(program, key, feeds) for key in keys])
    assert all(fitted <= plain * (1 + 1e-6) for plain, fitted in zip(*errors, strict=True))
    assert sum(errors[1]) < 0.97 * sum(errors[0])
