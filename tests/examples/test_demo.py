"""`make demo` end to end, run as a user runs it, from an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from examples.digits.data import ONNX_FILE, Digits, accuracy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, root: Path) -> tuple[Path, str]:
    """The folder that the demo ran in and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "demo-output", done.stdout


@pytest.mark.parametrize("source", ["torch", "onnx"])
def test_saved_model_is_as_good_and_smaller_in_integers(
    demo: tuple[Path, str], source: str, digits: Digits
) -> None:
    path = demo[0] / f"digits-{source}-onnxruntime.onnx"
    onnx.checker.check_model(onnx.load(path))
    session = onnxruntime.InferenceSession(str(path))
    inputs, labels = digits.heldout()
    logits = np.asarray(session.run(None, {session.get_inputs()[0].name: inputs})[0])
    # One point of 360 images: three of them.
    assert accuracy(logits, labels) >= 0.98
    # On a busy machine float may be what was not slower; it carries its plan then.
    quantized = any(node.op_type == "QuantizeLinear" for node in onnx.load(path).graph.node)
    assert path.stat().st_size < (0.6 if quantized else 1.2) * ONNX_FILE.stat().st_size


@pytest.mark.parametrize("source", ["torch", "onnx"])
def test_report_is_a_page(demo: tuple[Path, str], source: str) -> None:
    page = (demo[0] / f"digits-{source}-onnxruntime.html").read_text(encoding="utf-8")
    assert "<html" in page.lower()
    assert not re.search(r"(?:src|href)=[\"']https?:", page), "the report loads from the network"


@pytest.mark.parametrize("word", ["accuracy", "size, kB", "speed-up", "precision", "torch module"])
def test_tables_are_printed(demo: tuple[Path, str], word: str) -> None:
    assert word in demo[1]
