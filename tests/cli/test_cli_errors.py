"""The command line on bad input, for real: exit code, message, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from typer.testing import CliRunner

from qcompiler.cli import app

Array = npt.NDArray[Any]

DATA: dict[str, Callable[[Array], dict[str, Array]]] = {
    "good": lambda x: {"image": x},
    "name": lambda x: {"picture": x, "other": x},
    "shape": lambda x: {"image": x[:, :, :16]},
    "dtype": lambda x: {"image": x.astype(np.int64)},
    "nan": lambda x: {"image": np.where(x > 0, np.nan, x).astype(np.float32)},
    "empty": lambda x: {"image": x[:0]},
    "nothing": lambda _: {},
}
CASES = {
    "no file": ("none.onnx", "good", "o.onnx", "cannot read the model none.onnx"),
    "a folder": (".", "good", "o.onnx", "is a folder"),
    "garbage": ("garbage.onnx", "good", "o.onnx", "cannot read the model garbage.onnx"),
    "cut off": ("cut.onnx", "good", "o.onnx", "cannot read the model cut.onnx"),
    "old opset": ("opset5.onnx", "good", "o.onnx", "opset 5 is not supported"),
    "new opset": ("opset99.onnx", "good", "o.onnx", "opset 99 is not supported"),
    "wrong name": ("m.onnx", "name", "o.onnx", "missing image; unknown"),
    "wrong shape": ("m.onnx", "shape", "o.onnx", "has shape [1, 1, 16, 32]"),
    "wrong dtype": ("m.onnx", "dtype", "o.onnx", "has dtype int64, the model takes float32"),
    "NaN": ("m.onnx", "nan", "o.onnx", "sample 0 holds NaN"),
    "no samples": ("m.onnx", "empty", "o.onnx", "no calibration data"),
    "no arrays": ("m.onnx", "nothing", "o.onnx", "no calibration data"),
    "nothing to quantize": ("identity.onnx", "good", "o.onnx", "no op that the target quantizes"),
    "no folder": ("m.onnx", "good", "none/o.onnx", "there is no folder none"),
    "not writable": ("m.onnx", "good", "taken/o.onnx", "cannot write taken/o.onnx"),
}


@pytest.fixture
def folder(digits_onnx: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with every model and every data file."""
    data = digits_onnx.SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data)
    (tmp_path / "cut.onnx").write_bytes(data[: len(data) // 2])
    (tmp_path / "garbage.onnx").write_bytes(b"garbage" * 100)
    for version in (5, 99):
        digits_onnx.opset_import[0].version = version
        (tmp_path / f"opset{version}.onnx").write_bytes(digits_onnx.SerializeToString())
    identity = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n,1,32,32] image) => '
        "(float[n,1,32,32] y) { y = Identity(image) }"
    )
    onnx.save(identity, tmp_path / "identity.onnx")
    images = np.random.default_rng(0).standard_normal((4, 1, 32, 32)).astype(np.float32)
    for name, make in DATA.items():
        np.savez(tmp_path / f"{name}.npz", **make(images))  # type: ignore[arg-type]
    (tmp_path / "taken" / "o.onnx" / "full").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_a_message_and_an_exit_code(case: str, folder: Path) -> None:
    model, data, output, words = CASES[case]
    before = sorted(folder.rglob("*"))
    arguments = [model, "-c", f"{data}.npz", "-o", output, "--scheme", "int8", "--recipe", "fast"]
    result = CliRunner().invoke(app, ["compile", *arguments, "-q"])
    assert result.exit_code == 1, result.output
    assert words in result.stderr
    assert isinstance(result.exception, SystemExit)
    assert sorted(folder.rglob("*")) == before


_RAISING = """
def at_once():
    open("no/such/image.png")

def later():
    yield from ()
    raise KeyError("label")
"""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("at_once", ["FileNotFoundError", "image.png", "broken_feeds.py:3, in at_once"]),
        ("later", ["KeyError: 'label'", "broken_feeds.py:7, in later", "at feed 0"]),
    ],
)
def test_a_function_that_was_given_is_named_with_its_line(
    function: str, words: list[str], folder: Path
) -> None:
    (folder / "broken_feeds.py").write_text(_RAISING)
    call = ["compile", "m.onnx", "-o", "o.onnx", "-c", f"broken_feeds:{function}", "-q"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 1, result.output
    for word in [*words, "raised by", "mend that function"]:
        assert word in result.stderr
    assert "Traceback" not in result.stderr
    assert not (folder / "o.onnx").exists()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("nothing", "returned None"),
        ("number", "is a int, no function"),
        ("absent", "has no 'absent'"),
    ],
)
def test_what_is_no_function_of_feeds_is_told(function: str, words: str, folder: Path) -> None:
    (folder / "odd_feeds.py").write_text("number = 3\ndef nothing(): pass\n")
    call = ["compile", "m.onnx", "-o", "o.onnx", "-c", f"odd_feeds:{function}", "-q"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "to fix" in result.stderr


def test_the_good_one_passes(folder: Path) -> None:
    """Negative control: the same call with nothing wrong."""
    arguments = ["m.onnx", "-c", "good.npz", "-o", "o.onnx", "--scheme", "int8", "--recipe", "fast"]
    result = CliRunner().invoke(app, ["compile", *arguments, "-q"])
    assert result.exit_code == 0, result.output
    assert onnx.load(folder / "o.onnx").graph.node
