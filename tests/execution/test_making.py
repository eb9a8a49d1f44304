"""Every artifact says what it was made of: its plan, its calibration data, versions."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import qcompiler as qc
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


def test_a_weight_that_was_changed_is_noticed(tmp_path: Path) -> None:
    path = _compiled("fbgemm").save(tmp_path / "a")
    content = torch.load(path, weights_only=True)
    name = max(content["tensors"], key=lambda each: content["tensors"][each].numel())
    content["tensors"][name].zero_()
    torch.save(content, path)
    with pytest.raises(ArtifactError, match="weights"):
        qc.load_compiled(path)


def test_a_plan_that_was_changed_is_noticed(tmp_path: Path) -> None:
    path = _compiled("fbgemm").save(tmp_path / "a")
    content = torch.load(path, weights_only=True)
    content["plan"] = content["plan"].replace('"int8"', '"float32"')
    torch.save(content, path)
    with pytest.raises(ArtifactError, match="plan"):
        qc.load_compiled(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"versions": {"a": 1}}', '{"versions": []}'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting value|made of"):
        Making.from_json(text)


def _digest(feeds: Any) -> str:
    total = DataDigest()
    for feed in feeds:
        total.update(feed)
    return total.hex
