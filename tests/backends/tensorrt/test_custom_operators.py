"""A network that ends in a plugin of TensorRT: compiled up to there, saved whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

import qcompiler as qc
from qcompiler.errors import LoweringError

FLOAT = onnx.TensorProto.FLOAT


def _detector(rng: np.random.Generator, *, plugin: bool) -> onnx.ModelProto:
    def stored(name: str, array: object) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(array), name)

    def value(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, FLOAT, shape)

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "v"], ["h"]),
        helper.make_node("Reshape", ["h", "s"], ["boxes"]),
    ]
    ends = [value("boxes", 1, 6, 64)]
    if plugin:
        nodes.append(helper.make_node("EfficientNMS_TRT", ["boxes"], ["kept"], domain="TRT"))
        ends = [value("kept", 1, 10)]
    weights = [
        stored("w", rng.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32)),
        stored("v", rng.normal(0, 0.5, (6, 8, 1, 1)).astype(np.float32)),
        stored("s", np.array([1, 6, 64])),
    ]
    graph = helper.make_graph(nodes, "g", [value("x", 1, 3, 8, 8)], ends, weights)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("TRT", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def _feeds(rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
    return [{"x": rng.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(4)]


def test_the_front_is_quantized_and_the_file_is_whole(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    feeds = _feeds(rng)
    state = rng.bit_generator.state
    model = _detector(rng, plugin=True)
    rng.bit_generator.state = state
    front = _detector(rng, plugin=False)
    made = qc.compile(model, "tensorrt", feeds, scheme="int8", recipe="fast")
    assert made.report.counts()["int8"] == 2
    assert any("EfficientNMS_TRT" in each for each in made.report.warnings)
    (wanted,) = ort.InferenceSession(front.SerializeToString()).run(None, feeds[0])
    (found,) = made.run(feeds[0])
    noise = float(((found - wanted) ** 2).sum() / (wanted**2).sum())
    assert noise < 0.01
    path = tmp_path / "whole.onnx"
    made.save(path)
    saved = onnx.load(path)
    assert [node.op_type for node in saved.graph.node][-1] == "EfficientNMS_TRT"
    assert [each.name for each in saved.graph.output] == ["kept"]
    again = qc.load_compiled(path)
    np.testing.assert_array_equal(again.run(feeds[0])[0], found)


def test_other_targets_name_the_operator(rng: np.random.Generator) -> None:
    with pytest.raises(LoweringError, match="onnxruntime does not know TRT"):
        qc.compile(_detector(rng, plugin=True), calibration=_feeds(rng))
