"""Names with control characters: none of them reaches a terminal or a page."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from typer.testing import CliRunner

import qcompiler as qc
from qcompiler.cli import app
from qcompiler.errors import LoweringError
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.printable import one_line, printable

EVIL = "a\x1b]0;owned\x07\x9b31m\u202eb\u2028c\rd\x00e\x7f"


def harmful(text: str) -> set[str]:
    """The oracle: Unicode's own classes of what is not shown as itself."""
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {each for each in text if each not in "\n\t" and unicodedata.category(each) in bad}


def test_escapes_are_those_of_python() -> None:
    assert printable("a\x1b[1m\u202e\ud800ä→\n\t") == "a\\x1b[1m\\u202e\\ud800ä→\n\t"
    assert one_line("a\nb") == "a\\nb"
    assert printable("plain ä") == "plain ä"


def test_errors_and_diagnostics() -> None:
    error = LoweringError(EVIL, where=EVIL, why=EVIL, fix=EVIL)
    assert not harmful(str(error))
    found = str(Diagnostic(Severity.ERROR, "V01", EVIL, EVIL + "\n", EVIL, EVIL))
    assert not harmful(found)
    assert "\n" not in found


@pytest.fixture
def evil_model(tmp_path: Path) -> Path:
    weight = numpy_helper.from_array(np.eye(8, dtype=np.float32), "w" + EVIL)
    node = helper.make_node("MatMul", ["x" + EVIL, "w" + EVIL], ["y" + EVIL], name=EVIL)
    sides = [helper.make_tensor_value_info(name + EVIL, 1, ["n" + EVIL, 8]) for name in ("x", "y")]
    graph = helper.make_graph([node], "g" + EVIL, sides[:1], sides[1:], [weight])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_reports_of_a_model_with_such_names(evil_model: Path) -> None:
    feeds = [np.ones((2, 8), np.float32)] * 4
    compiled = qc.compile(evil_model, calibration=feeds, scheme="int8", recipe="fast", budget=0)
    assert any("\x1b" in row.region for row in compiled.report.regions), "the data keeps its names"
    for shown in (compiled.report.text(), compiled.report.html(), compiled.report.to_json()):
        assert not harmful(shown)
    assert "\\x1b" in compiled.report.text()


@pytest.mark.parametrize("options", [[], ["--text"], ["--json"]])
def test_inspect(options: list[str], evil_model: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", str(evil_model), *options])
    assert result.exit_code == 0, result.output
    assert not harmful(result.output)
    assert "x1b" in result.output or "u001b" in result.output
