"""A working folder with the network of digits, its data, and what was compiled of it."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qcompiler.cli import app
from qcompiler.demo.run import write_files
from tests.cli.library import Library


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    """Stands for `qcompiler.compile.compile`."""
    stub = Library()
    module = importlib.import_module("qcompiler.compile")
    monkeypatch.setattr(module, module.compile.__name__, stub)
    return stub


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written once: model.onnx, data.npz, out.onnx, plan.json and a few damaged files."""
    folder = tmp_path_factory.mktemp("made")
    model, data = write_files(folder)
    arguments = ["compile", str(model), "-c", str(data), "--batch", "16", "--scheme", "int8"]
    arguments += ["--recipe", "fast", "-q", "-o", str(folder / "out.onnx")]
    result = CliRunner().invoke(app, [*arguments, "--save-plan", str(folder / "plan.json")])
    assert result.exit_code == 0, result.output
    (folder / "cut.onnx").write_bytes((folder / "out.onnx").read_bytes()[:5000])
    changed = (
        (folder / "out.onnx").read_bytes().replace(b'"precision": "int8"', b'"precision": "int9"')
    )
    (folder / "changed.onnx").write_bytes(changed)
    (folder / "bad.json").write_text("{")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of those files as the working folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
