"""A quantization.toml is the arguments that it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import qcompiler as qc
from qcompiler.cli import app
from qcompiler.config_file import with_config
from qcompiler.decisions.overrides import Override
from qcompiler.errors import ConfigurationError

TEXT = """
target = "onnxruntime"
scheme = "int8"
recipe = "fast"

[ranges]
image = [0.0, 1.0]

[overrides]
"op:Add" = "float32"

[overrides."op:Gemm"]
bits = 4
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "quantization.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_the_file_is_the_arguments(config: Path) -> None:
    assert qc.read_config(config) == {
        "target": "onnxruntime",
        "scheme": "int8",
        "recipe": "fast",
        "ranges": {"image": (0.0, 1.0)},
        "overrides": {"op:Add": "float32", "op:Gemm": Override(bits=4)},
    }


def test_a_compilation_takes_them(config: Path, digits_path: Path, digits_feeds: Any) -> None:
    compiled = qc.compile(digits_path, calibration=digits_feeds[:2], **qc.read_config(config))
    assert "int4-weights" in compiled.plan.precisions.values()
    assert "int8" in compiled.plan.precisions.values()


def test_the_command_line_takes_it(config: Path, digits_path: Path, tmp_path: Path) -> None:
    output, plan = tmp_path / "out.onnx", tmp_path / "plan.json"
    text = config.read_text(encoding="utf-8").replace('scheme = "int8"', 'scheme = "int8-weights"')
    config.write_text(text.partition("[ranges]")[0], encoding="utf-8")
    given = ["compile", str(digits_path), "-o", str(output), "--config", str(config)]
    found = CliRunner().invoke(app, [*given, "--save-plan", str(plan), "-q"])
    assert found.exit_code == 0, found.output
    assert set(qc.Plan.read(plan).precisions.values()) == {"float32", "int8-weights"}


def test_what_is_written_beside_the_file_comes_first() -> None:
    written = {"scheme": "int8", "recipe": "balanced", "overrides": {"a": "x"}, "budget": None}
    config = {"scheme": "auto", "recipe": "best", "overrides": {"a": "y", "b": "z"}, "budget": 3}
    assert with_config(written, config) == {
        "scheme": "int8",
        "recipe": "best",
        "overrides": {"a": "x", "b": "z"},
        "budget": 3,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shceme = 'int8'", "did you mean 'scheme'"),
        ("scheme = 3", "'scheme' is 3, not a text"),
        ("scheme", "is no TOML"),
        ("[overrides]\nhead = 4", "4 is no override"),
        ("[overrides.head]\nbit = 4", "did you mean 'bits'"),
        ("[overrides.head]\nbits = 5", "bits are 5"),
    ],
)
def test_mistakes_say_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message) as caught:
        qc.read_config(path)
    assert "wrong.toml" in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml"):
        qc.read_config(tmp_path / "none.toml")


def test_a_number_of_too_many_digits_is_an_error_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "long.toml"
    file.write_text("budget = " + "9" * 5000)
    with pytest.raises(ConfigurationError, match=r"cannot read the configuration .*long\.toml"):
        qc.read_config(file)


def test_a_file_that_is_nested_too_deep_is_an_error_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "deep.toml"
    file.write_text("a = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(ConfigurationError, match="nested too deep"):
        qc.read_config(file)
