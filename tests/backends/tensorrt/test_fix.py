"""`fix` keeps the function: ONNX's reference implementation runs both models."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from benchmarks.tensorrt_cases_types import types
from benchmarks.tensorrt_net import KERNEL, Net, Recipe, image
from qcompiler.backends.tensorrt.lint import fix, lint
from qcompiler.ir.diagnostics import Severity

_CASES = {case.name: case.model for case in types()}


def _middle(net: Net) -> str:
    zero = np.uint8(128)
    x = net.quantize("x", zero=zero)
    scale, offset = net.const(np.full(16, 0.01, np.float32)), net.const(np.full(16, zero))
    levels = net.random.integers(0, 256, KERNEL).astype(np.uint8)
    weight = net.add("DequantizeLinear", net.const(levels), scale, offset, axis=0)
    return net.conv(x, weight)


def _rank1(net: Net) -> str:
    scale = np.full(1, 0.02, np.float32)
    return net.conv(net.quantize("x", scale, np.zeros(1, np.int8)), net.weight(KERNEL))


def _equal_channels(net: Net) -> str:
    scale, zero = net.const(np.full(16, 0.02, np.float32)), net.const(np.zeros(16, np.int8))
    q = net.add("QuantizeLinear", "x", scale, zero, axis=1)
    return net.conv(net.add("DequantizeLinear", q, scale, zero, axis=1), net.weight(KERNEL))


def _double(net: Net) -> str:
    return net.conv(net.quantize(net.quantize("x")), net.weight(KERNEL))


_RECIPES: dict[str, tuple[Recipe, str]] = {
    "uint8-middle": (_middle, "T03"),
    "rank1": (_rank1, "T11"),
    "equal-channels": (_equal_channels, "T10"),
    "double": (_double, "P7"),
}


def _run(model: onnx.ModelProto) -> Any:
    x = np.random.default_rng(3).normal(0, 1, (1, 16, 12, 12)).astype(np.float32)
    outputs: Any = ReferenceEvaluator(model).run(None, {"x": x})
    return outputs[0]


def _check(model: onnx.ModelProto, rule: str) -> None:
    before = {each.rule for each in lint(model)}
    fixed, done = fix(model)
    proto = ir.to_proto(fixed)
    assert rule in {each.rule for each in done}
    after = lint(fixed)
    assert before
    assert not [each for each in after if each.severity is not Severity.INFO]
    np.testing.assert_array_equal(_run(proto), _run(model))


@pytest.mark.parametrize(("recipe", "rule"), _RECIPES.values(), ids=_RECIPES)
def test_fixes_keep_every_bit(recipe: Recipe, rule: str) -> None:
    _check(image(recipe), rule)


def test_integer_bias_becomes_the_same_float_bias() -> None:
    _check(_CASES["type-bias-int32"], "T02")


def test_named_output_type_becomes_a_zero_point() -> None:
    fixed, done = fix(_CASES["type-output-dtype"])
    assert "T05" in {each.rule for each in done}
    np.testing.assert_array_equal(_run(ir.to_proto(fixed)), _run(_CASES["type-output-dtype"]))


@pytest.mark.parametrize("name", ["activation-zero-uint8-1", "activation-zero-int8-1"])
def test_what_would_change_the_function_is_left_alone(name: str) -> None:
    fixed, done = fix(_CASES[name])
    assert done == ()
    assert "T06" in {each.rule for each in lint(fixed)}


def test_the_given_model_is_not_changed() -> None:
    model = ir.from_proto(image(_rank1))
    before = ir.to_proto(model).SerializeToString()
    fix(model)
    assert ir.to_proto(model).SerializeToString() == before
