"""OpenVINO as a target: integer kernels in its own graph, outputs near ONNX Runtime's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from benchmarks.tensorrt_net import Net, image
from qcompiler.backends.openvino.target import OpenVino
from qcompiler.errors import ConfigurationError, FeedError, LoweringError
from qcompiler.execution.openvino import session as session_module
from qcompiler.execution.openvino.session import OpenVinoSession, available
from qcompiler.execution.session import OrtSession
from qcompiler.frontends import load
from qcompiler.ir.program import Program
from qcompiler.pipeline.contract import PassContext
from qcompiler.pipeline.pipeline import Pipeline

needs_openvino = pytest.mark.skipif(
    not available(), reason="openvino is not installed: qcompiler[openvino]"
)


def _convolutions(net: Net) -> str:
    x = "x"
    for _ in range(2):
        weight = net.const(net.random.normal(0, 0.1, (16, 16, 3, 3)).astype(np.float32))
        x = net.add("Relu", net.conv(x, weight, 16))
    return x


@pytest.fixture
def model() -> onnx.ModelProto:
    return image(_convolutions)


@pytest.fixture
def feeds() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.normal(0, 1, (1, 16, 12, 12)).astype(np.float32)} for _ in range(4)]


@pytest.fixture
def placed(model: onnx.ModelProto, feeds: list[dict[str, Any]]) -> Program:
    program, target = load(model), OpenVino()
    text = "canonicalize,dead-code,insert-observers,calibrate,"
    text += "assign-precision{scheme=int8},resolve-placement,"
    Pipeline.parse(text + target.placement).run(program, PassContext(target, feeds))
    return program


@needs_openvino
def test_runs_the_planned_convolutions_in_integers(placed: Program) -> None:
    count = OpenVino(threads=1).lower(placed).kernels()
    assert len(count.integer) == 2
    assert count.missed == {}
    assert count.ops["Convolution:u8"] == 2


@needs_openvino
def test_outputs_are_within_rounding_of_the_graphs_own(
    placed: Program, feeds: list[dict[str, Any]]
) -> None:
    """Not bit-exact: OpenVINO fuses scales, which may move a value by one step."""
    found = OpenVino(threads=1).lower(placed).run(feeds[0])[0]
    wanted = OrtSession(placed.model, optimize=False).run(feeds[0])[0]
    assert ((found - wanted) ** 2).sum() < 1e-3 * (wanted**2).sum()


@needs_openvino
def test_a_float_program_runs_as_it_is(model: onnx.ModelProto, feeds: list[dict[str, Any]]) -> None:
    program = load(model)
    artifact = OpenVino(threads=1).lower(program)
    wanted = OrtSession(program.model).run(feeds[0])[0]
    np.testing.assert_allclose(artifact.run(feeds[0])[0], wanted, rtol=1e-4, atol=1e-4)
    assert artifact.kernels().integer == ()


@needs_openvino
def test_wrong_feeds_and_refused_models_are_explained(model: onnx.ModelProto) -> None:
    program = load(model)
    session = OpenVinoSession(program.model, program.signature)
    with pytest.raises(FeedError):
        session.run({"y": np.zeros(3, np.float32)})
    next(iter(program.graph)).domain = "nobody"
    with pytest.raises(LoweringError, match="refuses"):
        OpenVinoSession(program.model, program.signature)


@needs_openvino
def test_saves_onnx_that_onnxruntime_reads(
    placed: Program, feeds: list[dict[str, Any]], tmp_path: Path
) -> None:
    artifact = OpenVino().lower(placed)
    artifact.save(tmp_path / "m.onnx")
    again = OrtSession(ir.load(tmp_path / "m.onnx"), optimize=False).run(feeds[0])[0]
    wanted = OrtSession(placed.model, optimize=False).run(feeds[0])[0]
    np.testing.assert_array_equal(again, wanted)


def test_a_missing_package_is_explained(
    model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    unavailable: Callable[[], bool] = lambda: False  # noqa: E731
    monkeypatch.setattr(session_module, "available", unavailable)
    program = load(model)
    with pytest.raises(ConfigurationError, match="not installed"):
        OpenVinoSession(program.model, program.signature)
