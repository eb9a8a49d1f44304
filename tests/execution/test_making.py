"""Every artifact says what it was made of: its plan, its calibration data, versions."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import qcompiler as qc
from qcompiler.artifact_check import check_artifact
from qcompiler.calibration.keeper import DataDigest
from qcompiler.errors import ArtifactError
from qcompiler.execution.making import Making
from qcompiler.ir.text import from_text

NETWORK = """
net (float[N,64] x) => (float[N,32] y) <float[64,32] w> { [product] y = MatMul(x, w) }
"""
ROWS = np.random.default_rng(0).normal(size=(16, 64)).astype(np.float32)
FEEDS = [{"x": part} for part in np.split(ROWS, 4)]
TARGETS = [
    "onnxruntime",
    "tensorrt",
    "fbgemm",
    pytest.param("openvino", marks=pytest.mark.skipif(not find_spec("openvino"), reason="extra")),
    pytest.param(
        "executorch", marks=pytest.mark.skipif(not find_spec("executorch"), reason="extra")
    ),
]


def _compiled(target: str = "onnxruntime", feeds: Any = FEEDS) -> qc.Compiled:
    return qc.compile(from_text(NETWORK), target, feeds, scheme="int8", recipe="fast")


@pytest.mark.parametrize("target", TARGETS)
def test_an_artifact_names_plan_data_and_versions(target: str, tmp_path: Path) -> None:
    compiled = _compiled(target)
    again = qc.load_compiled(compiled.save(tmp_path / "a"))
    origin = again.program.provenance
    assert origin.plan == compiled.plan.digest
    assert origin.data == _digest(FEEDS)
    assert origin.versions["qcompiler"] == qc.__version__
    assert origin.versions.get("engine", "") == compiled.target.engine_version
    assert {"onnx", "onnx-ir"} <= set(origin.versions)


def test_saved_again_it_stays_what_it_is(tmp_path: Path) -> None:
    first = _compiled().save(tmp_path / "a")
    again = qc.load_compiled(first)
    again.program.provenance.versions["engine"] = "an older one"  # type: ignore[index]
    kept = qc.load_compiled(again.save(tmp_path / "b")).program.provenance
    assert kept.versions["engine"] == "an older one"


def test_a_torch_source_is_named_with_its_version(tmp_path: Path) -> None:
    net = torch.nn.Linear(64, 4).eval()
    compiled = qc.compile(net, calibration=[ROWS], scheme="float32", recipe="fast")
    versions = qc.load_compiled(compiled.save(tmp_path / "a")).program.provenance.versions
    assert versions["source"] == f"torch {torch.__version__}"
    assert versions["engine"] == f"onnxruntime {onnxruntime.__version__}"


def test_without_data_there_is_no_digest(tmp_path: Path) -> None:
    made = qc.compile(from_text(NETWORK), scheme="dynamic", recipe="fast").save(tmp_path / "a")
    assert qc.load_compiled(made).program.provenance.data == ""


def test_the_digest_is_of_rows_whatever_their_batches() -> None:
    assert (
        _digest(FEEDS) == _digest([{"x": ROWS}]) == _digest([{"x": row} for row in ROWS[:, None]])
    )


@pytest.mark.parametrize(
    "other",
    [
        [{"x": ROWS[::-1]}],
        [{"x": ROWS[:-1]}],
        [{"z": ROWS}],
        [{"x": ROWS.view(np.int32)}],
        [{"x": ROWS.reshape(8, 128)}],
        [{"x": ROWS, "more": ROWS}],
        [{"x": ROWS[:8]}, {"x": ROWS[8:].reshape(4, 128)}],
    ],
    ids=["order", "fewer", "name", "type", "shape", "input", "ragged"],
)
def test_other_data_has_another_digest(other: Any) -> None:
    assert _digest(other) not in ("", _digest(FEEDS))


def _zeroed(path: Path) -> None:
    """The largest weight of an artifact becomes zero, all else stays."""
    if path.read_bytes()[:2] == b"PK":
        content = torch.load(path, weights_only=True)
        max(content["tensors"].values(), key=torch.Tensor.numel).zero_()
        torch.save(content, path)
    elif path.read_bytes()[4:8] == b"ET12":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        model = onnx.load(path)
        held = max(model.graph.initializer, key=lambda each: len(each.raw_data))
        held.raw_data = bytes(len(held.raw_data))
        onnx.save(model, path)


@pytest.mark.parametrize("target", TARGETS)
def test_a_weight_that_was_changed_is_noticed(target: str, tmp_path: Path) -> None:
    path = _compiled(target).save(tmp_path / "a")
    _zeroed(path)
    with pytest.raises(ArtifactError, match=r"/a.*\n.*digest"):
        qc.load_compiled(path)
    with pytest.raises(ArtifactError, match=r"/a.*\n.*digest"):
        check_artifact(path)


@pytest.mark.parametrize("target", ["onnxruntime", "tensorrt"])
def test_a_file_that_another_tool_wrote_again_is_taken(target: str, tmp_path: Path) -> None:
    compiled = _compiled(target)
    model = onnx.load(compiled.save(tmp_path / "a"))
    onnx.save(model, tmp_path / "b", save_as_external_data=True, location="w", size_threshold=0)
    again = qc.load_compiled(tmp_path / "b")
    np.testing.assert_array_equal(again.run(FEEDS[0])[0], compiled.run(FEEDS[0])[0])


def test_a_weight_in_a_file_beside_it_is_compared(tmp_path: Path) -> None:
    model = onnx.load(_compiled().save(tmp_path / "a"))
    onnx.save(model, tmp_path / "b", save_as_external_data=True, location="w", size_threshold=0)
    content = bytearray((tmp_path / "w").read_bytes())
    content[5] ^= 1
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(ArtifactError, match="weights"):
        qc.load_compiled(tmp_path / "b")


def test_a_file_of_an_earlier_version_is_opened_with_a_note(tmp_path: Path) -> None:
    path = _compiled().save(tmp_path / "a")
    model = onnx.load(path)
    (made,) = [each for each in model.metadata_props if each.key == "qcompiler.made"]
    body = json.loads(made.value)
    assert len(body.pop("content")) == 32
    made.value = json.dumps(body)
    onnx.save(model, path)
    assert any("no digest of its graph" in note for note in check_artifact(path).notes)


def test_a_plan_that_was_changed_is_noticed(tmp_path: Path) -> None:
    path = _compiled("fbgemm").save(tmp_path / "a")
    content = torch.load(path, weights_only=True)
    content["plan"] = content["plan"].replace('"int8"', '"float32"')
    torch.save(content, path)
    with pytest.raises(ArtifactError, match="plan"):
        qc.load_compiled(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"plan": "", "data": "", "content": 1, "versions": {}}',
        '{"versions": {"a": 1}}',
        '{"versions": []}',
    ],
)
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting value|made of"):
        Making.from_json(text)


def _digest(feeds: Any) -> str:
    total = DataDigest()
    for feed in feeds:
        total.update(feed)
    return total.hex
