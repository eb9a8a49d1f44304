"""`verify` of artifacts of every kind of form: those that other nodes stand for are found, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qcompiler as qc
from qcompiler import artifact_check
from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.text import from_text
from qcompiler.ir.walk import all_nodes

TEXT = """
g (float[4,64] x) => (float[4,64] y) <float[64,64] v, float[64,64] w> {
  [first] a = MatMul (x, v)
  r = Relu (a)
  [second] y = MatMul (r, w) }"""


def _saved(scheme: str, path: Path) -> Path:
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((4, 64)).astype(np.float32)} for _ in range(2)]
    found = qc.compile(
        from_text(TEXT), "onnxruntime", feeds, scheme=scheme, recipe="fast", variants=[]
    )
    return found.save(path)


@pytest.mark.parametrize(
    "scheme", ["int8", "dynamic", "int8-weights", "int2-weights", "codebook4-weights"]
)
def test_what_was_compiled_is_found_in_its_file(scheme: str, tmp_path: Path) -> None:
    found = artifact_check.check_artifact(_saved(scheme, tmp_path / "a.onnx"))
    assert found.problems == ()
    assert found.ok


def test_a_region_that_no_node_stands_for_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _saved("dynamic", tmp_path / "a.onnx")

    def without_places(*given: Any) -> Any:
        opened = qc.load_compiled(*given)
        for node in all_nodes(opened.program.model):
            node.metadata_props.pop(REGION_KEY, None)
        return opened

    monkeypatch.setattr(artifact_check, "load_compiled", without_places)
    assert len(artifact_check.check_artifact(path).problems) == 2
