"""Ctrl-C while the command line works, and while it is loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from qcompiler.cli import app
from tests.cli.library import Library
from tests.cli.library import Result as Compiled


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_an_interrupted_search_is_saved_and_exits_130(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = replace(Compiled.report, interrupted=True)
    monkeypatch.setattr(Compiled, "report", stopped)
    result = _run("compile", "m.onnx", "-o", tmp_path / "o.onnx")
    assert result.exit_code == 130
    assert "best that was found" in result.stderr
    assert (tmp_path / "o.onnx").read_bytes() == b"artifact"
    assert library.arguments["variants"] is None


def test_interrupt_exits_130(library: Library, tmp_path: Path) -> None:
    library.error = KeyboardInterrupt()
    result = _run("compile", "m.onnx", "-o", tmp_path / "o.onnx")
    assert result.exit_code == 130
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_a_real_process(root: Path, digits_path: Path, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, qcompiler.compile\n"
        "def stub(*args, **kwargs): os.kill(os.getpid(), signal.SIGINT); raise AssertionError\n"
        "sys.modules['qcompiler.compile'].compile = stub\n"
        "from qcompiler.cli import main\n"
        f"sys.argv = ['qcompiler', 'compile', 'm.onnx', '-o', {str(tmp_path / 'o.onnx')!r}]\n"
        "main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 128 + signal.SIGINT
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_the_command_is_loaded(root: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "class Stopped:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'qcompiler.cli': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Stopped())\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from qcompiler.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == "interrupted\n"


@pytest.mark.parametrize("loaded", ["qcompiler.cli", "qcompiler.cli.options"])
def test_ctrl_c_while_a_text_is_evaluated(loaded: str, root: Path, tmp_path: Path) -> None:
    """As in the making of a dataclass; `python -m` would end by the signal for it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Stopped:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {loaded!r}: exec('raise KeyboardInterrupt')\n"
        "sys.meta_path.insert(0, Stopped())\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "qcompiler", "targets"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"},
        check=False,
    )
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == "interrupted\n"
