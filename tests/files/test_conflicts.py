"""No output is an input or another output."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

import qcompiler as qc
from qcompiler.calibration.feed_files import FeedFiles
from qcompiler.cli import app
from qcompiler.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model with its weights beside it, its data, a plan, and links to them."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n,8] x) => (float[n,8] y) '
        "{ y = MatMul(x, w) }"
    )
    model.graph.initializer.append(numpy_helper.from_array(np.eye(8, dtype=np.float32), "w"))
    onnx.save_model(
        model, str(tmp_path / "m.onnx"), save_as_external_data=True, location="w.data",
        size_threshold=0,
    )  # fmt: skip
    np.savez(tmp_path / "c.npz", x=np.ones((4, 8), np.float32))
    (tmp_path / "feeds").mkdir()
    np.savez(tmp_path / "feeds" / "0.npz", x=np.ones((1, 8), np.float32))
    (tmp_path / "p.json").write_text('{"target": "onnxruntime", "choices": {}}')
    (tmp_path / "soft").symlink_to("m.onnx")
    os.link(tmp_path / "c.npz", tmp_path / "hard")
    monkeypatch.chdir(tmp_path)
    return tmp_path


CASES = {
    "output onto model": ["-o", "m.onnx"],
    "output onto a link to the model": ["-o", "soft"],
    "output onto weights": ["-o", "w.data"],
    "output onto data": ["-o", "c.npz"],
    "output onto another name of the data": ["-o", "hard"],
    "output onto the plan": ["-o", "p.json", "--plan", "p.json"],
    "plan onto output": ["-o", "o", "--save-plan", "./o"],
    "report onto output": ["-o", "o", "--report", "feeds/../o"],
    "report onto plan": ["-o", "o", "--report", "r", "--save-plan", "r"],
    "report onto model": ["-o", "o", "--report", "m.onnx"],
    "plan onto data": ["-o", "o", "--save-plan", "c.npz"],
    "checkpoint onto output": ["-o", "o", "--checkpoint", "o"],
    "output into the data's folder": ["-c", "feeds", "-o", "feeds/0.npz"],
}


@pytest.mark.parametrize("case", CASES)
def test_the_command_line_refuses_before_any_work(case: str, folder: Path) -> None:
    before = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    arguments = ["compile", "m.onnx", "-c", "c.npz", *CASES[case], "--scheme", "int8", "-q"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert "error: --" in result.stderr
    assert {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()} == before


@pytest.mark.parametrize(
    "command",
    [
        ["run-pipeline", "m.onnx", "canonicalize", "-o", "m.onnx"],
        ["lint", "m.onnx", "-t", "tensorrt", "--fix", "-o", "w.data"],
    ],
)
def test_the_other_commands_refuse_too(command: list[str], folder: Path) -> None:
    before = {each: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2, result.output
    assert {each: each.read_bytes() for each in folder.iterdir() if each.is_file()} == before


@pytest.mark.parametrize("name", ["m.onnx", "soft", "w.data", "c.npz", "hard"])
def test_save_refuses_what_was_compiled(name: str, folder: Path) -> None:
    compiled = qc.compile(
        folder / "m.onnx", calibration=FeedFiles(folder / "c.npz"), scheme="int8", recipe="fast"
    )
    before = (folder / name).read_bytes()
    with pytest.raises(ConfigurationError, match="would overwrite"):
        compiled.save(name)
    assert (folder / name).read_bytes() == before
    assert compiled.save("o.onnx").exists(), "the control: another name"
    assert compiled.save("o.onnx").exists(), "an own artifact may be written again"
