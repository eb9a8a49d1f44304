"""The notebooks run from top to bottom: their cells hold assertions about what they teach.

They are run by `exec` in one namespace, as IPython is no dependency; so cells are plain Python.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def run(path: Path, namespace: dict[str, Any]) -> int:
    """Runs the code cells in order; returns how many."""
    codes = [each for each in enumerate(cells(path), 1) if each[1]["cell_type"] == "code"]
    for number, cell in codes:
        code = compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec")
        exec(code, namespace)
    return len(codes)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive:UserWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot as plt

    monkeypatch.chdir(FOLDER)
    before = sorted(FOLDER.iterdir())
    assert run(path, vars(ModuleType("notebook"))) > 3
    plt.close("all")
    assert sorted(FOLDER.iterdir()) == before


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_notebooks_without_outputs(path: Path) -> None:
    """What format 4.5 asks for, so that Jupyter opens them; outputs would be another machine's."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert (whole["nbformat"], whole["nbformat_minor"]) == (4, 5)
    assert whole["metadata"]["kernelspec"]["name"] == "python3"
    names = [each["id"] for each in whole["cells"]]
    assert len(set(names)) == len(names)
    assert whole["cells"][0]["cell_type"] == "markdown"
    for cell in whole["cells"]:
        assert isinstance(cell["source"], list)
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_assert_what_they_teach(path: Path) -> None:
    source = "\n".join("".join(c["source"]) for c in cells(path) if c["cell_type"] == "code")
    assert sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source))) >= 3


def test_a_cell_that_fails_is_seen(tmp_path: Path) -> None:
    bad = {"cell_type": "code", "source": ["x = 1\n", "assert x == 2"]}
    (tmp_path / "bad.ipynb").write_text(json.dumps({"cells": [bad]}))
    with pytest.raises(AssertionError) as raised:
        run(tmp_path / "bad.ipynb", {})
    assert "bad.ipynb, cell 1" in str(raised.traceback[-1].path)


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 4
