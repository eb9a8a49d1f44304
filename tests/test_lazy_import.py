"""`import qcompiler` and `qcompiler --help` load next to nothing; names come on first use."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import qcompiler as qc
from qcompiler.version import own_version

HEAVY = {
    "onnx_ir", "onnx", "onnxscript", "onnxruntime", "sympy", "scipy", "networkx", "matplotlib",
    "torch", "openvino", "executorch", "google", "ml_dtypes", "numpy", "jinja2", "concurrent",
}  # fmt: skip
OWN_LIGHT = {"qcompiler", "qcompiler.errors", "qcompiler.printable"}
COMMAND_LINE = {*OWN_LIGHT, "qcompiler.cli", "qcompiler.strict_json", "qcompiler.version"}


def _is_command_line(name: str) -> bool:
    return name in COMMAND_LINE or name.startswith("qcompiler.cli.")


def _loaded(code: str, *arguments: str) -> set[str]:
    """Modules of a fresh interpreter after the code, that of start-up files left out."""
    told = "\nimport sys, json; sys.stderr.write(json.dumps(sorted(set(sys.modules) - before)))"
    done = subprocess.run(
        [sys.executable, "-c", "import sys; before = set(sys.modules)\n" + code + told, *arguments],
        capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    return set(json.loads(done.stderr.splitlines()[-1]))


def _roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def _own(names: set[str]) -> set[str]:
    return {name for name in names if name.partition(".")[0] == "qcompiler"}


def test_the_import_loads_no_dependency() -> None:
    found = _loaded("import qcompiler")
    assert not _roots(found) & HEAVY
    assert _own(found) <= OWN_LIGHT


@pytest.mark.parametrize("arguments", [["--help"], ["compile", "-h"], ["--version"]])
def test_help_loads_what_prints_it(arguments: list[str]) -> None:
    code = (
        "from qcompiler.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )
    found = _loaded(code, *arguments)
    assert not _roots(found) & HEAVY
    others = {name for name in _own(found) if not _is_command_line(name)}
    assert others == set()
    assert "qcompiler.cli.arguments" not in found  # it loads what commands need


def test_the_count_sees_what_is_loaded() -> None:
    """The control: a name that is used brings its module, and what that needs."""
    found = _loaded("import qcompiler as qc; qc.Plan")
    assert "qcompiler.ir.plan" in _own(found)
    assert _roots(_loaded("import qcompiler as qc; qc.Program")) & HEAVY


def test_type_checkers_and_the_table_know_the_same_names() -> None:
    assert qc.__file__ is not None
    tree = ast.parse(Path(qc.__file__).read_text(encoding="utf-8"))
    (block,) = [each for each in tree.body if isinstance(each, ast.If) and "not" not in
                ast.unparse(each.test)]  # fmt: skip
    typed = {
        name.name: (each.module or "").removeprefix("qcompiler").removeprefix(".")
        for each in block.body
        if isinstance(each, ast.ImportFrom)
        for name in each.names
    }
    homes = dict(qc._HOMES) | {"errors": ""}
    assert typed == homes
    assert set(qc.__all__) == {*homes, "__version__"}
    assert set(qc.__all__) <= set(dir(qc))


@pytest.mark.parametrize("name", qc.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(qc, name) is not None


@pytest.mark.parametrize("name", ["compile", "compare", "lint", "passes"])
def test_a_module_of_the_same_name_hides_no_function(name: str) -> None:
    code = f"""
import importlib, types
import qcompiler as qc
module = importlib.import_module("qcompiler.{name}")
assert isinstance(module, types.ModuleType)
assert isinstance(qc.{name}, types.FunctionType), qc.{name}
from qcompiler import {name}
assert {name} is qc.{name}
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'complie'"):
        getattr(qc, "complie")  # noqa: B009 - a type checker knows it


def test_the_version_is_that_of_the_checkout(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert qc.__version__ == own_version() == project["version"]
