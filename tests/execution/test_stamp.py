"""What an ONNX artifact says of itself: which target it was written for, and under which plan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import qcompiler as qc
from qcompiler.errors import ArtifactError
from qcompiler.execution.openvino.session import available
from qcompiler.execution.stamp import stamp_of
from qcompiler.ir.text import from_text

NETWORK = """
net (float[N,64] x) => (float[N,32] y) <float[64,32] w> { [product] y = MatMul(x, w) }
"""
FEEDS = [np.random.default_rng(i).normal(size=(4, 64)).astype(np.float32) for i in range(4)]
TARGETS = [
    "onnxruntime",
    "tensorrt",
    pytest.param(
        "openvino", marks=pytest.mark.skipif(not available(), reason="openvino is not installed")
    ),
]


def _saved(target: str, path: Path) -> qc.Compiled:
    compiled = qc.compile(from_text(NETWORK), target, FEEDS, scheme="int8", recipe="fast")
    compiled.save(path)
    return compiled


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_knows_its_target_and_plan(target: str, tmp_path: Path) -> None:
    compiled = _saved(target, tmp_path / "a")
    again = qc.load_compiled(tmp_path / "a")
    assert again.target == compiled.target
    assert again.plan.precisions == compiled.plan.precisions != {}
    for found, wanted in zip(again.run(FEEDS[0]), compiled.run(FEEDS[0]), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("target", TARGETS)
def test_equal_inputs_give_equal_bytes(target: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        _saved(target, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_of_another_tool_is_onnxruntimes(tmp_path: Path) -> None:
    _saved("tensorrt", tmp_path / "a")
    model = onnx.load(tmp_path / "a")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "b")
    assert qc.load_compiled(tmp_path / "b").target.name == "onnxruntime"
    assert qc.load_compiled(tmp_path / "a", "onnxruntime").target.name == "onnxruntime"


@pytest.mark.parametrize("key", ["qcompiler.plan", "qcompiler.target", "qcompiler.plan_digest"])
def test_an_altered_stamp_is_refused(key: str, tmp_path: Path) -> None:
    _saved("onnxruntime", tmp_path / "a")
    model = onnx.load(tmp_path / "a")
    props = {each.key: each.value for each in model.metadata_props}
    assert stamp_of(props) is not None
    with pytest.raises(ArtifactError, match="stamp is damaged"):
        stamp_of({**props, key: props[key].replace("int8", "int4").replace("{", "[").upper()})
