"""What an ONNX artifact says of itself: which target it was written for, and under which plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch

import qcompiler as qc
from qcompiler.errors import ArtifactError, FeedError
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


class _Pair(NamedTuple):
    high: torch.Tensor
    low: torch.Tensor


class _Nested(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.product = torch.nn.Linear(8, 4)

    def forward(self, given: dict[str, torch.Tensor], gain: float = 2.0) -> dict[str, Any]:
        found = self.product(given["left"]) * gain + given["right"]
        return {"pair": _Pair(found, -found), "gain": gain}


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_of_a_torch_source_is_called_like_it(target: str, tmp_path: Path) -> None:
    feeds = [({"left": torch.randn(4, 8), "right": torch.randn(4, 4)},) for _ in range(2)]
    module = _Nested().eval()
    compiled = qc.compile(module, target, feeds, scheme="float32", recipe="fast")
    again = qc.load_compiled(compiled.save(tmp_path / "a"))
    wanted = module(*feeds[0])
    found = again(*feeds[0])
    assert found.keys() == wanted.keys()
    assert isinstance(found["pair"], _Pair)
    torch.testing.assert_close(found["pair"].high, wanted["pair"].high, rtol=1e-5, atol=1e-5)
    with pytest.raises(FeedError, match="gain"):
        again(*feeds[0], gain=3.0)
    with pytest.raises(FeedError, match="other keys"):
        again({"left": feeds[0][0]["left"]})


def test_a_damaged_convention_is_refused(tmp_path: Path) -> None:
    compiled = qc.compile(
        _Nested().eval(),
        example_inputs=({"left": torch.randn(4, 8), "right": torch.randn(4, 4)},),
        scheme="float32",
    )
    compiled.save(tmp_path / "a")
    model = onnx.load(tmp_path / "a")
    (held,) = [each for each in model.metadata_props if each.key == "qcompiler.convention"]
    held.value = held.value[:-5]
    onnx.save(model, tmp_path / "a")
    with pytest.raises(ArtifactError, match="convention"):
        qc.load_compiled(tmp_path / "a")
