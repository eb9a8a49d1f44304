"""The gate with NVIDIA's own parser and builder; skipped where its wheels are absent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.tensorrt_cases_placement import hardware
from benchmarks.tensorrt_cases_scales import scales
from benchmarks.tensorrt_net import FLOAT8, Net
from qcompiler.backends.tensorrt import gate as gate_module
from qcompiler.backends.tensorrt.gate import WORDING, Gate, available
from qcompiler.backends.tensorrt.lint import lint
from qcompiler.backends.tensorrt.target import TensorRT
from qcompiler.errors import ConfigurationError, LoweringError
from qcompiler.frontends import load

needs_wheels = pytest.mark.skipif(
    not available(), reason="the TensorRT-RTX wheels are absent: qcompiler[tensorrt-check]"
)


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    with Gate(timeout=120) as opened:
        yield opened


@needs_wheels
def test_an_int8_convolution_is_compiled_as_one(gate: Gate, conv_net: Callable[..., Any]) -> None:
    model = conv_net()
    result = gate.check(model)
    assert result.parsed
    assert result.built
    assert not result.errors
    assert result.summary(model) == (
        f"{WORDING}; 1 of 1 convolutions and 0 of 0 matmuls compiled with Int8 inputs"
    )


@needs_wheels
def test_a_refusal_carries_the_parsers_reason(gate: Gate, conv_net: Callable[..., Any]) -> None:
    model = conv_net({"zero": 3})
    result = gate.check(model)
    assert not result.parsed
    assert result.errors
    assert "did not parse" in result.summary(model)


@needs_wheels
def test_a_crash_of_the_builder_is_a_result_and_the_next_model_builds(
    gate: Gate, conv_net: Callable[..., Any]
) -> None:
    crashing = next(case for case in scales() if case.name == "scale-graph-input")
    result = gate.check(crashing.model)
    assert not result.built
    assert "crashed" in result.errors[0]
    assert gate.check(conv_net()).built


@needs_wheels
def test_free_dimensions_get_a_profile(gate: Gate) -> None:
    dynamic = next(case for case in hardware() if case.name == "hw-dynamic-batch")
    shapes = {"x": [[1, 16, 12, 12], [2, 16, 12, 12], [32, 16, 12, 12]]}
    assert gate.check(dynamic.model).built
    assert gate.check(dynamic.model, shapes).built


@needs_wheels
def test_a_file_with_external_data(
    gate: Gate, conv_net: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(conv_net(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert gate.check(path).built


@needs_wheels
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("capability", [75, 86])
def test_recurrent_ops_are_refused_where_the_lint_says_so(op: str, capability: int) -> None:
    """T23: they are decomposed into float32 products, which SM 75 does not have."""
    net, gates = Net(), {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    parts = [
        net.const(net.random.normal(0, 0.1, (1, gates * 8, 8)).astype(np.float32)) for _ in "WR"
    ]
    model = net.model(net.add(op, net.input((5, 1, 8)), *parts, hidden_size=8))
    refused = {each.rule for each in lint(model, capability)}
    assert refused == ({"T23"} if capability == 75 else set())
    with Gate(capability, timeout=120) as gate:
        assert gate.check(model).built is not bool(refused)


@needs_wheels
@pytest.mark.parametrize("size", [32, 33])
def test_float8_convolutions_have_small_filters(size: int) -> None:
    """TRT08: the table offers float8 exactly where the builder compiles it."""
    net = Net()
    x = net.quantize(net.input((1, 16, 4, 80)), zero=np.zeros((), FLOAT8))
    built = net.model(net.conv(x, net.weight((16, 16, 1, size), dtype=FLOAT8)))
    with Gate(89, timeout=120) as gate:
        result = gate.check(built)
    (conv,) = [node.name for node in built.graph.node if node.op_type == "Conv"]
    plain = Net()
    weight = plain.const(np.ones((16, 16, 1, size), np.float32))
    program = load(plain.model(plain.conv(plain.input((1, 16, 4, 80)), weight)))
    target = TensorRT(precision="fp8", compute_capability=89)
    (region,) = target.regions(program)
    assert result.runs_in(conv, "FP8") is bool(target.implementations(region)) is (size == 32)


@needs_wheels
def test_a_slow_answer_is_an_error(conv_net: Callable[..., Any]) -> None:
    with Gate(timeout=0.0) as hasty, pytest.raises(LoweringError, match="did not answer"):
        hasty.check(conv_net())


def test_unknown_capability_and_missing_wheels_are_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigurationError, match="SM 70"):
        Gate(70)
    monkeypatch.setattr(gate_module, "available", lambda: False)
    with pytest.raises(ConfigurationError, match="wheels are not installed"):
        Gate(86)
