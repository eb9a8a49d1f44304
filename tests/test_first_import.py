"""What happens around an import and an exit: no files of telemetry, no traceback on a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import qcompiler as qc
import numpy as np, onnx
model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> '
                                'g (float[2,4] x) => (float[2,4] y) { y = Relu(x) }')
qc.compile(model, scheme="float32", recipe="fast", budget=0).run(np.ones((2, 4), np.float32))
"""


def test_no_engine_leaves_files_of_telemetry(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    places = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "cache"}
    for name in places.values():
        (tmp_path / name).mkdir()
    environment = {**kept, **{key: str(tmp_path / name) for key, name in places.items()}}
    subprocess.run([sys.executable, "-c", _RUN], env=environment, check=True, timeout=120)
    left = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert [each for each in left if "matplotlib" not in str(each)] == []


def test_whoever_wants_it_switches_it_on() -> None:
    code = "import os, qcompiler; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, want in ({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0"):
        kept = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
        done = subprocess.run(
            [sys.executable, "-c", code], env={**kept, **given}, capture_output=True, text=True,
            check=True, timeout=120,
        )  # fmt: skip
        assert done.stdout.strip() == want


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", [["targets"], ["passes", "--json"], ["--help"]])
def test_a_full_device_behind_the_output(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "qcompiler", *arguments], stdout=full,
            stderr=subprocess.PIPE, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert done.returncode == 1
    assert "error: cannot write the output: No space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_an_encoding_without_the_characters(digits_path: Path, tmp_path: Path) -> None:
    """Times are in µs, and there is no µ in ASCII."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "qcompiler", "run-pipeline", str(digits_path), "dead-code",
         "-o", str(tmp_path / "o.onnx")],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "dead-code" in done.stdout
