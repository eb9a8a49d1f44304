"""Outputs that an operator writes whether they have a name or not: ONNX Runtime dies without.

The models run here only after they are mended; the oracle is the same model with names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import qcompiler as qc

RNG = np.random.default_rng(0)
FEED = {"x": RNG.normal(size=(2, 3, 6, 6)).astype(np.float32)}
STATISTICS = {name: RNG.uniform(0.5, 1.5, 3).astype(np.float32) for name in "sbmv"}
HELD: dict[str, Any] = {
    **STATISTICS,
    "g": RNG.normal(size=6).astype(np.float32),
    "k": np.array([2]),
    "w": RNG.normal(size=(6, 4)).astype(np.float32),
}
TRAINED = ("BatchNormalization", ["x", *STATISTICS], {"training_mode": 1}, 3, 0)
SPLIT = ("Split", ["x"], {"axis": 1}, 3, 0)
CASES: dict[str, tuple[tuple[str, list[str], dict[str, Any], int, int], Sequence[int]]] = {
    # operator, operands, attributes, outputs, the one that is read; those that have a name
    "trained": (TRAINED, [0]),
    "trained, variance": (TRAINED, [0, 2]),
    "first part": (SPLIT, [0, 2]),
    "last part": ((*SPLIT[:4], 2), [2]),
    "values of TopK": (("TopK", ["x", "k"], {"axis": 1}, 2, 0), [0]),
    "statistics": (("LayerNormalization", ["x", "g"], {}, 3, 1), [1]),
}


def _model(case: str, named: Sequence[int]) -> onnx.ModelProto:
    (op, operands, attributes, count, read), _ = CASES[case]
    outputs = [f"o{place}" if place in named else "" for place in range(count)]
    graph = helper.make_graph(
        [
            helper.make_node(op, operands, outputs, **attributes),
            helper.make_node("Relu", [f"o{read}"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 3, 6, 6])],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(each, name) for name, each in HELD.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_model_runs_as_with_names(case: str, as_file: bool, tmp_path: Path) -> None:
    (_, _, _, count, _), named = CASES[case]
    given: Any = _model(case, named)
    if as_file:
        onnx.save(given, tmp_path / "model.onnx")
        given = tmp_path / "model.onnx"
    compiled = qc.compile(given, calibration=[FEED], scheme="float32", recipe="fast")
    assert any("got a name" in each for each in compiled.report.warnings)
    whole = qc.compile(_model(case, range(count)), calibration=[FEED], scheme="float32")
    assert not any("got a name" in each for each in whole.report.warnings)
    np.testing.assert_array_equal(compiled.run(FEED)[0], whole.run(FEED)[0])


def test_optional_outputs_stay_without_a_name() -> None:
    graph = helper.make_graph(
        [helper.make_node("MaxPool", ["x"], ["y", ""], kernel_shape=[2, 2])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 3, 6, 6])],
        [onnx.ValueInfoProto(name="y")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    compiled = qc.compile(made, calibration=[FEED], scheme="float32", recipe="fast")
    assert not any("got a name" in each for each in compiled.report.warnings)
