"""Files in a folder that is closed: every command names the file and the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qcompiler.cli import app

COMMANDS = (
    "inspect barred/m.onnx",
    "inspect barred/m.pt",
    "inspect barred/m.pt2",
    "bench barred/m.onnx",
    "bench barred/m.pt",
    "verify barred/m.onnx",
    "lint barred/m.onnx --target tensorrt",
    "debug barred/m.onnx out.onnx -c data.npz",
    "compare barred/m.onnx model.onnx --data data.npz",
    "compare model.onnx barred/m.pt --data data.npz",
    "compare model.onnx out.onnx --data barred/c.npz",
    "run-pipeline barred/m.onnx dead-code -o o.onnx",
    "run-pipeline model.onnx dead-code -o barred/o.onnx",
    "compile barred/m.onnx -o o.onnx",
    "compile model.onnx -o barred/o.onnx",
    "compile model.onnx -o o.onnx -c barred/c.npz",
    "compile model.onnx -o o.onnx -c data.npz --plan barred/p.json",
    "compile model.onnx -o o.onnx -c data.npz --config barred/q.toml",
    "compile model.onnx -o o.onnx -c data.npz --report barred/r.html",
    "compile model.onnx -o o.onnx -c data.npz --save-plan barred/p.json",
    "compile model.onnx -o o.onnx -c data.npz --scheme int8 --checkpoint barred/k",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_folder_is_told(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root there are no closed folders, so the system's answers are given by hand."""
    original, access = Path.stat, os.access

    def stat(self: Path, **options: bool) -> os.stat_result:
        if "barred" in str(self):
            raise PermissionError(13, "Permission denied", str(self))
        return original(self, **options)

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(os, "access", lambda at, mode: "barred" not in str(at) and access(at, mode))
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code in (1, 2), done.output
    told = " ".join(done.output.split())
    assert "barred" in told
    assert "Permission denied" in told or "cannot be written to" in told
    assert "cannot write the output" not in told
    assert "this is a fault" not in told
